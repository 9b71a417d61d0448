// Folds open for links that lead into them, and the threshold explorer looks up texts that the page holds. Without this
// script the page's style opens the folds, and the tables say the same.
"use strict";
document.documentElement.classList.add("scripted");

const chapters = document.querySelectorAll("details.chapter");
const unfold = () => {
  const id = decodeURIComponent(location.hash.slice(1));
  const target = id && document.getElementById(id);
  if (!target) return;
  if (id === "everything") document.querySelectorAll("#everything details").forEach((fold) => { fold.open = true; });
  if (id === "appendix") chapters.forEach((fold) => { fold.open = false; });
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", unfold);
// A second click on the same link changes no address.
addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link && link.hash === location.hash) setTimeout(unfold);
});
unfold();

for (const box of document.querySelectorAll(".explorer")) {
  const systems = JSON.parse(document.getElementById(box.dataset.source).textContent);
  const [choice, slider, reset] = ["select", "input", "button"].map((tag) => box.querySelector(tag));
  const [shown, rule, sentence] = ["output", ".rule", ".said"].map((part) => box.querySelector(part));
  const mark = box.querySelector(".mark");
  const cells = box.querySelectorAll("dd");
  const own = (system) => Math.min(99, Math.max(1, Math.round(100 * system.own)));

  const show = () => {
    const system = systems[choice.selectedIndex];
    const [threshold, ...values] = system.rows[slider.value - 1];
    shown.textContent = threshold;
    slider.setAttribute("aria-valuetext", threshold);
    values.forEach((text, k) => { cells[k].textContent = text; });
    rule.textContent = system.rule;
    mark.style.left = `calc(8px + ${Math.min(1, Math.max(0, (100 * system.own - 1) / 98))} * (100% - 16px))`;
    sentence.textContent = `${system.name} at a threshold of ${threshold}: of 100 records ${values[4]} are flagged `
      + `and ${values[5]} that are truly ${box.dataset.event} are missed; sensitivity ${values[0]}, specificity ${values[1]}.`;
  };
  const restart = () => { slider.value = own(systems[choice.selectedIndex]); show(); };

  slider.addEventListener("input", show);
  choice.addEventListener("change", restart);
  reset.addEventListener("click", restart);
  restart();
  box.hidden = false;
}
