// Chapters beside the player: a click plays from there, the one being played is marked. Without it they are links.
(() => {
  "use strict";

  const player = document.querySelector("[data-player]");
  if (!player) return;
  const chapters = () => [...document.querySelectorAll("[data-outline] [data-chapter]")];

  function mark() {
    const now = player.currentTime + 0.05;
    const all = chapters();
    const current = all.filter((link) => Number(link.dataset.chapter) <= now).at(-1);
    for (const link of all) {
      if (link === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("[data-outline] [data-chapter]") : null;
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab opens at that moment
    event.preventDefault();
    player.currentTime = Number(link.dataset.chapter);
    player.play().catch(() => {}); // a browser may refuse to play before the first click
    mark();
  });
  for (const name of ["timeupdate", "seeked", "loadedmetadata"]) player.addEventListener(name, mark);
  // A chapter list that arrives, or is drawn again, while the talk plays. Marking changes attributes only.
  const place = document.querySelector(".watch-side");
  if (place) new MutationObserver(mark).observe(place, { childList: true, subtree: true });
  mark();
})();
