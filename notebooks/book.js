// Read from a file, a page cannot fetch others to quote them in what was found.
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
