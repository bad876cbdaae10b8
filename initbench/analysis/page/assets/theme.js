"use strict";
// Before anything is painted: the theme that was chosen here last, if one was.
try {
  const chosen = localStorage.getItem("initbench-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch (error) {
  // a file that may store nothing follows the system
}
