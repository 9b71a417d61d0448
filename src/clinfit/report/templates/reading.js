"use strict";
const page = CLINFIT_PAGE, format = CLINFIT_FORMAT;
const inputs = [...document.querySelectorAll("fieldset input")], articles = [...document.querySelectorAll("article")];
const rater = document.getElementById("rater"), done = document.getElementById("done"), said = document.getElementById("said");

const chosen = (section) => Object.fromEntries(
  [...section.querySelectorAll("input:checked")].map((input) => [input.dataset.criterion, Number(input.value)]));
const asked = (section) => section.querySelectorAll("fieldset").length;

function ratings() {
  return articles.flatMap((article) => [...article.querySelectorAll(".answer")].map((section) => ({
    id: article.dataset.id, place: Number(section.dataset.place), scores: chosen(section),
  }))).filter((rating) => Object.keys(rating.scores).length);
}

function count() {
  let whole = 0, all = 0;
  for (const article of articles) {
    const sections = [...article.querySelectorAll(".answer")];
    const here = sections.filter((section) => Object.keys(chosen(section)).length === asked(section)).length;
    article.classList.toggle("complete", here === sections.length);
    whole += here;
    all += sections.length;
  }
  done.textContent = whole + " of " + all + " texts scored";
}

// Each rater has a place of their own, so that two who share a browser do not see each other's scores.
const key = () => "clinfit-reading-" + page + "-" + rater.value.trim().toLowerCase();

// Only scores are kept in the browser, never a text; a browser that forbids it still lets them be saved as a file.
function keep() {
  const scores = Object.fromEntries(inputs.filter((input) => input.checked).map((input) => [input.name, input.value]));
  if (!rater.value.trim()) return;
  try { localStorage.setItem(key(), JSON.stringify(scores)); } catch (error) { /* not kept */ }
}

function recall() {
  let kept = null;
  try { kept = JSON.parse(localStorage.getItem(key())); } catch (error) { /* nothing was kept */ }
  for (const input of inputs) input.checked = kept !== null && kept[input.name] === input.value;
}

// Scores that were given before any initials belong to whoever enters theirs first.
let before = "";
function another() {
  if (before || !inputs.some((input) => input.checked)) recall();
  before = rater.value.trim();
  keep();
  count();
}

function save(event) {
  event.preventDefault();
  const content = JSON.stringify({ format, page, rater: rater.value.trim(), ratings: ratings() }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = "ratings-" + rater.value.trim().replace(/[^\w-]+/g, "_") + ".json";
  link.click();
  URL.revokeObjectURL(link.href);
  said.textContent = "Saved as " + link.download + ".";
}

function jump(step) {
  const at = articles.findIndex((article) => article.contains(document.activeElement));
  const top = articles.findIndex((article) => article.getBoundingClientRect().bottom > 120);
  const next = articles[Math.max(0, Math.min(articles.length - 1, (at < 0 ? top : at) + step))];
  next.scrollIntoView();
  next.focus({ preventScroll: true });
}

document.querySelector("main").addEventListener("change", () => { count(); keep(); });
rater.addEventListener("change", another);
document.addEventListener("keydown", (event) => {
  if (event.target === rater || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n" || event.key === "p") { jump(event.key === "n" ? 1 : -1); event.preventDefault(); }
});
document.querySelector(".bar").addEventListener("submit", save);
count();
