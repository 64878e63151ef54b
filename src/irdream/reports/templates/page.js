"use strict";
// Who compares sounds hears one at a time.
document.addEventListener("play", (event) => {
  for (const sound of document.querySelectorAll("audio")) {
    if (sound !== event.target) sound.pause();
  }
}, true);
// In a sandboxed frame a link within the page would be taken for one to another page.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const place = document.getElementById(link.getAttribute("href").slice(1));
  place.scrollIntoView();
  place.focus({ preventScroll: true });
});
