// The page of the service. No text that is entered is kept: it is sent, its answer is shown, and that is all.
"use strict";

const $ = (id) => document.getElementById(id);
const state = { models: [], limits: {}, key: "", revisions: new Map(), open: new Set(), watching: false };

// ---------------------------------------------------------------- building blocks

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function percent(value) {
  if (value > 0 && value < 0.001) return "< 0.1 %";
  if (value < 1 && value > 0.999) return "> 99.9 %";
  return (100 * value).toFixed(1) + " %";
}

function shown(value) { return Number.isInteger(value) ? String(value) : value.toFixed(3); }

function complain(words) { $("problem").textContent = words; }

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (state.key) headers.Authorization = "Bearer " + state.key;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  if (response.ok) return response;
  if (response.status === 401) $("key").hidden = false;
  let problem = {};
  try { problem = await response.json(); } catch { /* no problem document */ }
  const wait = response.headers.get("Retry-After");
  const words = [problem.title || "The service answered " + response.status, problem.detail, wait && "try again in " + wait + " seconds"];
  throw Object.assign(new Error(words.filter(Boolean).join(": ") + "."), { status: response.status });
}

async function guarded(work) {
  complain("");
  try { await work(); } catch (error) { complain(error.message); }
}

// ---------------------------------------------------------------- models and fields

async function start() {
  const list = await (await ask("/v1/models")).json();
  Object.assign(state, { models: list.data, limits: list.limits });
  $("version").textContent = list.version;
  $("key").hidden = true;
  const options = () => state.models.map((model) => element("option", { value: model.id, textContent: model.id }));
  $("choose").replaceChildren(...options());
  $("beside").replaceChildren(element("option", { value: "", textContent: "no other" }), ...options());
  $("beside-field").hidden = state.models.length < 2;
  choose();
  await showJobs();
}

const model = () => state.models.find((one) => one.id === $("choose").value);

function beside() {
  const other = state.models.find((one) => one.id === $("beside").value);
  return other && other.id !== model().id ? other : null;
}

function sameInputs(one, other) {
  const key = (each) => each.inputs.map((input) => input.name + ":" + input.type).sort().join();
  return key(one) === key(other);
}

function choose() {
  const chosen = model();
  if (!chosen) return;
  $("fields").replaceChildren(...chosen.inputs.flatMap(field));
  for (const option of $("beside").options) {
    const other = state.models.find((one) => one.id === option.value);
    option.disabled = Boolean(other) && (other.id === chosen.id || !sameInputs(other, chosen));
    if (option.disabled && option.selected) $("beside").value = "";
  }
  $("columns").replaceChildren("the columns ", ...chosen.inputs.flatMap((input, k) =>
    [k ? ", " : "", element("code", { textContent: input.column })]), ", and an id if you like");
  $("results").replaceChildren();
  $("waiting").textContent = "Nothing asked yet.";
  $("explain").disabled = writes(chosen);
  if (writes(chosen)) $("explain").checked = false;
  showHow();
  showFacts();
}

function showHow() { $("how").hidden = !($("explain").checked && model().explained_by.includes("gradient")); }

// A model beside the chosen one may have no gradient: it is explained by what it has.
function explaining(one) {
  if (!one.explained_by.length) return {};
  const by = $("how").hidden ? "occlusion" : $("explain-by").value;
  return { explain: $("explain").checked, explain_by: one.explained_by.includes(by) ? by : "occlusion" };
}

function field(input, k) {
  const id = "input-" + k;
  const hints = [input.unit, input.low !== null ? "training: " + shown(input.low) + " to " + shown(input.high) : null,
    input.type === "text" ? null : "leave empty where it is not known"].filter(Boolean).join(", ");
  const label = element("label", { htmlFor: id }, input.title + " ", hints ? element("span", { className: "hint", textContent: hints }) : null);
  let entry, list = null;
  if (input.type === "text") {
    entry = element("textarea", { id, rows: input.main ? 9 : 3 });
  } else {
    entry = element("input", { id, type: "text", inputMode: input.type === "number" ? "decimal" : "text" });
    if (input.values) {
      list = element("datalist", { id: id + "-values" }, ...input.values.map((value) => element("option", { value })));
      entry.setAttribute("list", list.id);
    }
  }
  entry.dataset.name = input.name;
  entry.dataset.type = input.type;
  return [element("div", { className: "field" }, label, entry, list)];
}

function record() {
  const inputs = {};
  for (const entry of $("fields").querySelectorAll("[data-name]")) {
    const value = entry.value;
    inputs[entry.dataset.name] = value.trim() === "" ? null : entry.dataset.type === "number" ? value.trim() : value;  // the task says which mark is decimal
  }
  return { inputs };
}

// ---------------------------------------------------------------- one record

async function send(event) {
  event.preventDefault();
  await guarded(async () => {
    const input = record();
    if (Object.values(input.inputs).every((value) => value === null)) {
      $("fields").querySelector("[data-name]").focus();
      throw new Error("Enter a text or a value first.");
    }
    $("send").disabled = true;
    $("waiting").textContent = $("explain").checked ? "Asking many times over: this takes a while …" : "Asking …";
    $("results").replaceChildren();
    try {
      const asked = [model(), beside()].filter(Boolean);
      const bodies = await Promise.all(asked.map(async (one) => {
        const body = JSON.stringify({ model: one.id, input, ...explaining(one) });
        return (await ask(one.route, { method: "POST", headers: { "Content-Type": "application/json" }, body })).json();
      }));
      $("results").replaceChildren(...bodies.map((body, k) => answer(asked[k], body, input)));
      $("waiting").textContent = bodies.map((body, k) => spoken(asked[k], body)).join(" ");
      $("answers").scrollIntoView({ block: "nearest" });
    } catch (error) {
      $("waiting").textContent = "No answer.";
      throw error;
    } finally {
      $("send").disabled = false;
    }
  });
}

function writes(one) { return ["generation", "extraction"].includes(one.kind); }

function labelText(one, label, input) {
  if (one.kind !== "multiple-choice") return label;
  const options = one.options || [];
  const text = input && options.length ? input.inputs[options[one.labels.indexOf(label)]] : null;
  return text ? label + ": " + text : label;
}

function decisionText(one, item, input) {
  if (writes(one)) return item.text || "It wrote nothing.";
  if (Array.isArray(item.decision)) return item.decision.length ? item.decision.join(", ") : "none of the labels";
  return labelText(one, item.decision, input);
}

function spoken(one, body) {
  const item = body.data[0];
  return one.id + ": " + decisionText(one, item, null) + (item.status === "refer" ? ", for a person to decide." : ".");
}

function reason(one, item) {
  const thresholds = Object.entries(item.threshold);
  if (thresholds.length === 1) {
    const [label, threshold] = thresholds[0], p = item.probabilities[label];
    return `Probability of ${label}: ${percent(p)}, ${p >= threshold ? "at or above" : "below"} the threshold of ${percent(threshold)} that the evaluation used.`;
  }
  if (thresholds.length) return "A label holds from its own threshold on, as in the evaluation.";
  return Object.keys(one.label_weights).length ? "The largest of probability times label weight, as in the evaluation (see the facts of the model)." : "The most probable label.";
}

function bars(one, item, input) {
  const decided = Array.isArray(item.decision) ? item.decision : [item.decision];
  const rows = one.labels.map((label) => {
    const fill = element("div", { className: "fill" });
    fill.style.width = 100 * item.probabilities[label] + "%";
    const track = element("div", { className: "track" }, fill);
    const threshold = item.threshold[label];
    if (threshold !== undefined) {
      const tick = element("div", { className: "tick" });
      tick.style.left = 100 * Math.min(threshold, 1) + "%";
      track.append(tick);
    }
    const bar = element("td", { className: "bar" }, track);
    bar.setAttribute("aria-hidden", "true");
    return element("tr", { className: decided.includes(label) ? "chosen" : "" },
      element("th", { scope: "row", textContent: labelText(one, label, input) }), bar,
      element("td", { className: "number", textContent: percent(item.probabilities[label]) }),
      element("td", { className: "number", textContent: threshold === undefined ? "–" : percent(threshold) }));
  });
  const heads = ["label", "", "probability", "threshold"].map((words, k) =>
    words ? element("th", { scope: "col", className: k > 1 ? "number" : "", textContent: words }) : element("td", { ariaHidden: "true" }));
  return element("table", {}, element("caption", { textContent: "Probabilities; the mark on a bar is the threshold" }),
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
}

function answer(one, body, input) {
  const item = body.data[0];
  const box = element("article", { className: "answer" }, element("h3", { textContent: one.id }),
    element("p", { className: "decision", textContent: decisionText(one, item, input) }));
  if (item.status === "refer") {
    box.append(element("p", { className: "refer" }, element("strong", { textContent: "For a person to decide." }),
      " The model is not sure enough of this record, by the rule that the evaluation used."));
  }
  if (writes(one)) {
    box.append(element("p", { className: "why", textContent: "Written by a model, read by nobody: check every word against the record." + (item.finish_reason === "length" ? " It ended at its limit, not at its end." : "") }));
  } else {
    box.append(element("p", { className: "why", textContent: reason(one, item) }), bars(one, item, input));
  }
  if (item.extracted_diseases) box.append(...named(item, input));
  const notes = [...item.notes];
  if (item.truncated) notes.push(`${item.dropped_tokens} tokens at the end of the text are more than the model reads: it did not see them`);
  if (item.prediction_set) notes.push("labels that cannot be ruled out: " + (item.prediction_set.join(", ") || "none"));
  if (notes.length) box.append(element("h3", { textContent: "Beware" }), element("ul", { className: "plain" }, ...notes.map((note) => element("li", { textContent: note }))));
  if (item.explanation) box.append(...explanation(item.explanation, input));
  box.append(element("p", { className: "hint" }, "Pack ", element("code", { textContent: body.pack.slice(0, 12) }), ", computed by " + body.engine + "."));
  return box;
}

// ---------------------------------------------------------------- what moved the answer

function explanation(found, input) {
  const nodes = [element("h3", { textContent: `What moved the probability of ${found.label}` })];
  const largest = Math.max(...found.effects.map((effect) => Math.abs(effect.effect)), 1e-9);
  const texts = [...new Set(found.effects.filter((effect) => effect.start !== null).map((effect) => effect.input))];
  for (const name of texts) {
    nodes.push(element("p", { className: "hint", textContent: `${name}: underlined spans raise it, dotted ones lower it` }),
      marked(String(input.inputs[name]), found.effects.filter((effect) => effect.input === name && effect.start !== null), "The text with its effects", effectLook(largest)));
  }
  const check = found.faithfulness;
  if (check) {
    const [named, drawn] = [check.named, check.drawn].map((change) => (100 * change).toFixed(1));
    nodes.push(element("p", { textContent: `Without the ${check.taken} that ${check.raise_it ? "raise" : "lower"} it most the probability ${check.raise_it ? "falls" : "rises"} by ${named} percentage points, without ${check.taken} others by ${drawn} (mean of ${check.draws} draws).`
      + (check.named > check.drawn ? "" : " So do not read the order of these effects.") }));
  }
  const rows = found.effects.slice(0, 8).map((effect) => element("tr", {},
    element("td", { textContent: effect.start === null ? effect.input : quoted(part(Array.from(String(input.inputs[effect.input])), effect.start, effect.end)) }),
    element("td", { className: "number", textContent: (effect.effect > 0 ? "+" : effect.effect < 0 ? "−" : "") + (100 * Math.abs(effect.effect)).toFixed(1) }),
    element("td", { textContent: effect.effect > 0 ? "raises it" : effect.effect < 0 ? "lowers it" : "no change" })));
  nodes.push(element("details", {}, element("summary", { textContent: "The largest effects in numbers" }),
    element("table", {}, element("thead", {}, element("tr", {}, ...[found.method === "gradient" ? "part" : "without", "percentage points", ""].map((words) =>
      words ? element("th", { scope: "col", textContent: words }) : element("td")))), element("tbody", {}, ...rows))),
    element("p", { className: "hint", textContent: found.meaning }));
  return nodes;
}

function quoted(text) { return "“" + (text.length > 80 ? text.slice(0, 79) + "…" : text) + "”"; }

// Offsets count characters as the server does (code points), where a string's own count UTF-16 units.
function part(characters, start, end) { return characters.slice(start, end).join(""); }

// look(span): class and title of its mark, or null for none. Of spans that overlap the first is marked.
function marked(text, spans, name, look) {
  const characters = Array.from(text);
  const box = element("div", { className: "marked", tabIndex: 0 });
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", name);
  let at = 0;
  for (const span of [...spans].sort((one, other) => one.start - other.start)) {
    if (span.start < at) continue;
    const looks = look(span), words = part(characters, span.start, span.end);
    box.append(part(characters, at, span.start), looks ? element("mark", { ...looks, textContent: words }) : words);
    at = span.end;
  }
  box.append(part(characters, at));
  return box;
}

function effectLook(largest) {
  return ({ effect }) => {
    const share = Math.abs(effect) / largest;
    if (share < 0.15) return null;
    return { className: (effect > 0 ? "up" : "down") + (share > 0.6 ? " strong" : ""),
      title: `${effect > 0 ? "raises" : "lowers"} it by ${(100 * Math.abs(effect)).toFixed(1)} percentage points` };
  };
}

// ---------------------------------------------------------------- types that the text names

function named(item, input) {
  const found = item.extracted_diseases, words = (one) => one.type + (one.negated ? " (denied)" : "");
  const nodes = [element("h3", { textContent: "Types that the text names" })];
  for (const name of new Set(found.map((one) => one.input))) {
    const own = found.filter((one) => one.input === name);
    nodes.push(element("p", { className: "hint", textContent: `${name}: ${[...new Set(own.map(words))].join(", ")}` }),
      marked(String(input.inputs[name]), own, "The text with the types that it names",
        (one) => ({ className: one.negated ? "denied" : "named", title: words(one) })));
  }
  if (!found.length) nodes.push(element("p", { className: "hint", textContent: "None that the lexicon knows." }));
  const unsaid = item.types.filter((one) => one.decided && !one.mentioned);
  const denied = (one) => found.some((mention) => mention.type === one.type) ? one.type + " (the text denies it)" : one.type;
  if (unsaid.length) nodes.push(element("p", { className: "hint", textContent: "The model's inference, and not what the text says: " + unsaid.map(denied).join(", ") + "." }));
  return nodes;
}

// ---------------------------------------------------------------- the model

const METRICS = { accuracy: "accuracy", sensitivity: "sensitivity", specificity: "specificity", ppv: "positive predictive value",
  npv: "negative predictive value", auroc: "AUROC", macro_f1: "macro F1", micro_f1: "micro F1", exact_match: "all labels right", field_f1: "F1 of values", all_fields: "all fields right", valid_output: "valid answers", brier: "Brier score",
  token_f1: "token F1 (wording, a proxy)", rougeL: "ROUGE-L (wording, a proxy)", number_precision: "numbers found in the source (a proxy)", perplexity: "perplexity of the references" };

function showFacts() {
  const shown = [model(), beside()].filter(Boolean);
  $("model-title").textContent = shown.length > 1 ? "The models" : "The model";
  $("facts").replaceChildren(...shown.map((one) => shown.length > 1
    ? element("section", { className: "of-two" }, element("h3", { textContent: one.id }), facts(one, "h4")) : facts(one, "h3")));
}

function facts(one, level) {
  const pairs = (entries) => element("dl", {}, ...entries.flatMap(([name, value]) =>
    [element("dt", { textContent: name }), element("dd", { textContent: value })]));
  const measured = Object.entries(METRICS).filter(([name]) => one.metrics[name] && one.metrics[name].value !== null && one.metrics[name].value !== undefined)
    .map(([name, words]) => {
      const metric = one.metrics[name];
      const range = metric.low === null || metric.low === undefined ? "" : ` [${metric.low.toFixed(2)}, ${metric.high.toFixed(2)}]`;
      return [words, metric.value.toFixed(2) + range + (metric.status === "ok" ? "" : ` (${metric.status})`)];
    });
  const thresholds = Object.entries(one.threshold).map(([label, value]) => `${label} from ${percent(value)}`).join(", ");
  const weights = Object.entries(one.label_weights).map(([label, value]) => `${label} x ${value.toPrecision(3)}`).join(", ");
  const about = [["task", `${one.task} (${one.kind})`],
    ...(writes(one) ? [] : [["labels", one.labels.join(", ")], ["decision", thresholds || weights || "the most probable label"]]),
    ["handed to a person", one.refers ? "records that the model is not sure of" : "none"], ["model", one.run + (one.base ? ", on " + one.base : ", " + one.family)],
    ["study", one.study], ["pack", one.pack], ["computed by", one.engine]];
  const divided = one.cross_validation, recalibrated = one.recalibrated;
  const limits = [recalibrated ? `It was recalibrated for the place of ${recalibrated}, and measured on these: other patients, other hospitals and other years may differ.`
    : divided ? `It was trained on all ${one.n} records of its study, and none was left to test it: the figures are of models trained alike, in a ${divided}.`
    : "It was measured on the test records of its study and nothing else: other patients, other hospitals and other years may differ.",
    "A probability is the model's, not a patient's risk, unless the report of the study shows that it is calibrated where you use it.",
    "Values that training has not seen are noted beside the answer, and answered all the same.",
    ...Object.entries(one.withheld).map(([task, why]) => `Task ${task} is not answered: ${why}`)];
  return element("div", { className: "facts" },
    element("div", {}, element(level, { textContent: "What it is" }), pairs(about)),
    element("div", {}, element(level, { textContent: recalibrated ? `What was measured on ${recalibrated}` : divided ? `What a ${divided} measured, of models trained alike` : `What was measured on ${one.n} test records` }), measured.length ? pairs(measured) : element("p", { textContent: "Nothing that is shown here." })),
    element("div", {}, element(level, { textContent: "Limits" }), element("ul", { className: "plain" }, ...limits.map((limit) => element("li", { textContent: limit })))));
}

// ---------------------------------------------------------------- tables

const TYPES = { csv: "text/csv", tsv: "text/tab-separated-values", jsonl: "application/x-ndjson", ndjson: "application/x-ndjson" };

async function sendTable(event) {
  event.preventDefault();
  await guarded(async () => {
    const file = $("file").files[0];
    if (!file) throw new Error("Choose a file first.");
    const type = TYPES[file.name.split(".").pop().toLowerCase()];
    if (!type) throw new Error("Choose a CSV, TSV or JSON lines file.");
    if (file.size > state.limits.table_bytes) throw new Error("The file is too large: divide it.");
    $("job-news").textContent = "Sending …";
    try {
      const response = await ask("/v1/jobs?model=" + encodeURIComponent(model().id), { method: "POST", body: file,
        headers: { "Content-Type": type, "Idempotency-Key": crypto.randomUUID ? crypto.randomUUID() : String(Math.random()) } });
      const job = await response.json();
      $("job-news").textContent = `A job of ${job.total} records was sent.`;
      $("table-form").reset();
    } catch (error) {
      $("job-news").textContent = "";
      throw error;
    }
    await showJobs();
  });
}

async function showJobs() {
  let jobs = [];
  try { jobs = (await (await ask("/v1/jobs?limit=100")).json()).data; } catch { /* the key may not be for jobs */ }
  state.revisions.clear();
  state.open.clear();
  $("jobs").replaceChildren(...jobs.map((job) => element("li", { id: "job-" + job.id })));
  jobs.forEach(showJob);
  watch();
}

// What has not changed is left as it is, with the focus that it may have.
function showJob(job) {
  const place = $("job-" + job.id);
  if (!place || state.revisions.get(job.id) === job.revision) return;
  if (job.ended && state.open.has(job.id)) $("job-news").textContent = `The job of ${job.total} records has ended: ${job.state}.`;
  state.revisions.set(job.id, job.revision);
  if (job.ended) state.open.delete(job.id); else state.open.add(job.id);
  const begun = new Date(1000 * job.created).toLocaleString();
  const counts = [`${job.done} of ${job.total} records`, job.failed ? `${job.failed} without an answer` : "", job.referred ? `${job.referred} for a person to decide` : ""].filter(Boolean).join(", ");
  const bar = element("progress", { max: job.total, value: job.done });
  bar.setAttribute("aria-label", "Progress of the job of " + begun);
  const button = (words, work) => element("button", { type: "button", textContent: words, onclick: () => guarded(work) });
  const buttons = [];
  if (!job.ended) buttons.push(button("Cancel", async () => { await ask(`/v1/jobs/${job.id}/cancel`, { method: "POST" }); await refresh(job.id); }));
  if (job.ended && job.done) buttons.push(button("Download CSV", () => download(job)));
  buttons.push(button("Erase", async () => {
    await ask("/v1/jobs/" + job.id, { method: "DELETE" });
    place.remove();
    state.open.delete(job.id);
    $("job-news").textContent = "The job was erased.";
    $("file").focus();
  }));
  place.replaceChildren(element("h3", { textContent: `${job.model}, ${begun}: ${job.state}` }), bar,
    element("p", { className: "hint", textContent: counts }), element("div", { className: "row" }, ...buttons));
}

async function refresh(id) { showJob(await (await ask("/v1/jobs/" + id)).json()); }

async function download(job) {
  const blob = await (await ask(`/v1/jobs/${job.id}/results?format=csv`)).blob();
  const link = element("a", { href: URL.createObjectURL(blob), download: `answers-${job.id.slice(0, 8)}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// All jobs by one question now and then: a stream for each would take every connection that a browser opens to one service.
async function watch() {
  if (state.watching) return;
  state.watching = true;
  for (let broken = 0; broken < 20 && state.open.size;) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    try {
      const jobs = (await (await ask("/v1/jobs?limit=100")).json()).data;
      jobs.forEach(showJob);
      for (const id of [...state.open].filter((open) => !jobs.some((job) => job.id === open))) {
        try { showJob(await (await ask("/v1/jobs/" + id)).json()); } catch (error) { if (error.status === 404) state.open.delete(id); }
      }
      broken = 0;
    } catch { broken++; }
  }
  state.watching = false;
}

// ---------------------------------------------------------------- start

$("choose").addEventListener("change", choose);
$("beside").addEventListener("change", showFacts);
$("explain").addEventListener("change", showHow);
$("form").addEventListener("submit", send);
$("form").addEventListener("reset", (event) => {
  event.preventDefault();
  for (const entry of $("fields").querySelectorAll("[data-name]")) entry.value = "";
  $("results").replaceChildren();
  $("waiting").textContent = "Nothing asked yet.";
});
$("table-form").addEventListener("submit", sendTable);
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = $("key-value").value.trim();
  $("key-value").value = "";
  guarded(start);
});
guarded(start);
