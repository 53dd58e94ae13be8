// Read from a file, a page cannot fetch others to quote them in what was found.
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// What scrolls sideways fades where there is more of it, as a phone shows no bar, and
// is reached by the keyboard (as formulas are anyway), in solutions just unfolded too.
const SCROLLING = "div.math, span.math, pre, .pst-scrollable-table-container, .text_html";

function showMore(boxes) {
  const hidden = boxes.map((box) => [
    box.scrollLeft,
    box.scrollWidth - box.clientWidth - box.scrollLeft,
  ]);
  boxes.forEach((box, i) => {
    box.classList.toggle("more-left", hidden[i][0] > 4);
    box.classList.toggle("more-right", hidden[i][1] > 4);
    if (!box.matches(".math")) box.tabIndex = Math.max(...hidden[i]) > 0 ? 0 : -1;
  });
}

document.addEventListener("DOMContentLoaded", () => {
  const article = document.querySelector("article");
  const sizes = new ResizeObserver((all) => showMore(all.map((one) => one.target)));
  article?.querySelectorAll(SCROLLING).forEach((box) => {
    sizes.observe(box);
    box.addEventListener("scroll", () => showMore([box]), { passive: true });
  });
});
