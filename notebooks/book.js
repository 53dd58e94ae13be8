// Read from a file, a page cannot fetch others to quote them in what was found.
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// A formula within a line that is wider than the line scrolls by itself.
window.addEventListener("load", () =>
  window.MathJax?.startup.promise.then(() => {
    for (const formula of document.querySelectorAll("span.math")) {
      const line = formula.closest("p, li, td, dd") ?? document.body;
      const { width } = formula.getBoundingClientRect();
      formula.classList.toggle("wide", width > line.clientWidth + 1);
    }
  }),
);
