// Fetches the page again and puts its live sections in place of those that are shown. The page works without it.
"use strict";
(() => {
  const EVERY = 2000;
  const pause = document.getElementById("pause");
  const updated = document.getElementById("updated");
  let paused = false;

  // What somebody is reading or has under the finger stays as it is.
  const inUse = (section) =>
    section.querySelector("details[open]") !== null ||
    (section.contains(document.activeElement) && document.activeElement !== document.body);

  const refresh = async () => {
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) throw new Error(String(response.status));
    const next = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const section of next.querySelectorAll("[data-live]")) {
      const shown = document.getElementById(section.id);
      if (shown === null) document.querySelector("main").append(document.importNode(section, true));
      else if (!inUse(shown)) shown.replaceWith(document.importNode(section, true));
    }
    updated.textContent = next.getElementById("updated").textContent;
    updated.classList.remove("bad");
  };

  const turn = async () => {
    if (!paused && !document.hidden) {
      try {
        await refresh();
      } catch {
        if (!updated.classList.contains("bad")) updated.textContent = `no answer since ${updated.textContent}`;
        updated.classList.add("bad");
      }
    }
    setTimeout(turn, EVERY);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
  });
  setTimeout(turn, EVERY);
})();
