"use strict";
// Finds while one types, and says where this gateway is. Without it the page only cannot do that.
for (const api of document.querySelectorAll(".api")) api.textContent = location.origin;
const find = document.getElementById("find");
const items = [...document.querySelectorAll("nav section li")];
const show = () => {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of items) {
    const target = document.getElementById(item.firstElementChild.hash.slice(1));
    const summary = target?.querySelector(".summary")?.textContent ?? "";
    const text = `${item.textContent} ${summary}`.toLowerCase();
    item.hidden = !words.every((word) => text.includes(word));
    if (!item.hidden) shown += 1;
  }
  for (const section of document.querySelectorAll("nav section")) section.hidden = !section.querySelector("li:not([hidden])");
  document.getElementById("none").hidden = shown > 0;
};
find.addEventListener("input", show);
find.addEventListener("keydown", (event) => {
  if (event.key === "Enter") document.querySelector("nav section li:not([hidden]) a")?.click();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== find) {
    event.preventDefault();
    find.focus();
  }
});
find.parentElement.hidden = false;
const contents = document.querySelector("nav details");
const narrow = matchMedia("(max-width: 60rem)");
contents.open = !narrow.matches;
narrow.addEventListener("change", () => (contents.open = !narrow.matches));
document.querySelector("nav").addEventListener("click", (event) => {
  if (narrow.matches && event.target.closest("a")) contents.open = false;
});
