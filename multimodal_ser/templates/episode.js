"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.segments, dimensions = data.dimensions, total = data.seconds;
  const [low, high] = data.scale, middle = (low + high) / 2;
  const SVG = "http://www.w3.org/2000/svg", WIDTH = 1000, CHART = 96, LANE = 14, SMOOTH = 30, SHORT = 300;
  const $ = (id) => document.getElementById(id);
  const audio = $("audio");
  let chosen = dimensions[0], current = -1;

  const clock = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const shown = parts[0] ? parts : parts.slice(1);
    return shown.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":");
  };
  const number = (value) => (value === null ? "–" : value.toFixed(2).replace("-", "−"));
  const node = (name, attributes, parent) => {
    const made = document.createElementNS(SVG, name);
    for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
    if (parent) parent.appendChild(made);
    return made;
  };
  const element = (name, text, parent) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  };
  const x = (seconds) => (seconds / total) * WIDTH;

  // Blue below the middle of the scale, orange above: told apart by every kind of colour vision.
  const colour = (value) => {
    if (value === null) return "transparent";
    const share = Math.max(-1, Math.min(1, (value - middle) / ((high - low) / 2)));
    const strength = Math.round(Math.abs(share) * 100);
    return `color-mix(in srgb, var(${share < 0 ? "--below" : "--above"}) ${strength}%, var(--even))`;
  };

  // A mean over the neighbours within 30 s, weighted by how long they last; for the eye alone.
  const smoothed = (name, key) => {
    const middles = rows.map((row) => (row.start + row.end) / 2);
    return rows.map((row, at) => {
      if (row[name][key] === null) return null;
      let sum = 0, weight = 0;
      for (let step = at; step >= 0 && middles[at] - middles[step] <= SMOOTH; step--) add(step);
      for (let step = at + 1; step < rows.length && middles[step] - middles[at] <= SMOOTH; step++) add(step);
      return weight ? sum / weight : null;
      function add(step) {
        const value = rows[step][name][key], lasting = rows[step].end - rows[step].start;
        if (value !== null) { sum += value * lasting; weight += lasting; }
      }
    });
  };

  const drawChart = (name) => {
    const box = $("chart-" + name);
    box.replaceChildren();
    const isSmooth = $("smooth").checked;
    const series = (key) => (isSmooth ? smoothed(name, key) : rows.map((row) => row[name][key]));
    const [fused, below, above] = [series("fused"), series("low"), series("high")];
    const known = [low, high];
    for (const value of fused) if (value !== null) known.push(value);
    const floor = Math.min(...bounds(known)), roof = Math.max(...bounds(known));
    const y = (value) => CHART - ((Math.max(floor, Math.min(roof, value)) - floor) / (roof - floor)) * CHART;
    node("line", { x1: 0, x2: WIDTH, y1: y(middle), y2: y(middle), class: "middle" }, box);
    const points = rows.map((row, at) => [x((row.start + row.end) / 2), at]);
    const banded = points.filter(([, at]) => below[at] !== null);
    if (banded.length) {
      const upper = banded.map(([px, at]) => `${px.toFixed(1)},${y(above[at]).toFixed(1)}`);
      const lower = banded.map(([px, at]) => `${px.toFixed(1)},${y(below[at]).toFixed(1)}`).reverse();
      node("polygon", { points: upper.concat(lower).join(" "), class: "band" }, box);
    }
    const drawn = points.filter(([, at]) => fused[at] !== null);
    node("polyline", { points: drawn.map(([px, at]) => `${px.toFixed(1)},${y(fused[at]).toFixed(1)}`).join(" "), class: "line" }, box);
    node("line", { x1: 0, x2: 0, y1: 0, y2: CHART, class: "playhead" }, box);
  };
  const bounds = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);

  const drawLanes = () => {
    const box = $("lanes");
    for (const row of rows) {
      const lane = data.speakers.indexOf(row.speaker);
      node("rect", { x: x(row.start).toFixed(2), width: Math.max(0.6, x(row.end - row.start)).toFixed(2), y: lane * LANE + 2, height: LANE - 4, "data-at": row.id }, box);
    }
    node("line", { x1: 0, x2: 0, y1: 0, y2: data.speakers.length * LANE, class: "playhead" }, box);
    const axis = $("axis");
    const step = [10, 30, 60, 300, 600, 900, 1800, 3600].find((s) => total / s <= 10) || 7200;
    for (let at = 0; at <= total * 0.96; at += step) {
      const label = element("span", clock(at), axis);
      label.style.left = `${(at / total) * 100}%`;
    }
  };

  const paint = () => {
    for (const rect of $("lanes").querySelectorAll("rect")) rect.style.fill = colour(rows[rect.dataset.at][chosen].fused);
    for (const line of $("transcript").children) {
      const value = rows[line.dataset.at][chosen].fused;
      line.style.setProperty("--mark", colour(value));
      line.querySelector(".value").textContent = number(value);
    }
  };

  const seek = (at, play) => {
    const row = rows[at];
    if (audio) {
      audio.currentTime = row.start;
      if (play) audio.play().catch(() => {});
    }
    show(row.start, true);
  };
  const show = (seconds, scroll) => {
    for (const head of document.querySelectorAll(".playhead")) head.setAttribute("transform", `translate(${x(seconds)} 0)`);
    let at = -1;
    for (const row of rows) { if (row.start <= seconds + 1e-3) at = row.id; else break; }
    if (at === current) return;
    const lines = $("transcript").children;
    if (current >= 0) lines[current].removeAttribute("aria-current");
    current = at;
    if (at < 0) return;
    lines[at].setAttribute("aria-current", "true");
    if (!lines[at].hidden && !$("transcript").contains(document.activeElement)) stopAt(lines[at]);
    if (scroll) {
      const box = $("transcript"), line = lines[at];
      box.scrollTop = line.offsetTop - box.offsetTop - box.clientHeight / 3;
    }
  };

  // The transcript is one stop of the Tab key, however long it is; arrows move within it.
  let stop = null;
  const stopAt = (line) => {
    if (stop) stop.tabIndex = -1;
    stop = line;
    if (stop) stop.tabIndex = 0;
  };
  const listTranscript = () => {
    const box = $("transcript");
    for (const row of rows) {
      const line = element("button", undefined, box);
      line.type = "button";
      line.tabIndex = -1;
      line.dataset.at = row.id;
      element("span", clock(row.start), line).className = "time";
      element("span", row.speaker || "", line).className = "who";
      const words = element("span", row.text || "(no words)", line);
      words.className = row.text && row.text_source !== "untrusted" ? "words" : "words quiet";
      words.dir = "auto";
      if (row.flags.length) words.title = "not read: " + row.flags.join(", ");
      element("span", "", line).className = "value";
      line.addEventListener("click", () => seek(row.id, true));
    }
    if (rows.length) stopAt(box.children[0]);
    box.addEventListener("focusin", (event) => stopAt(event.target));
    box.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      let line = document.activeElement;
      do line = step > 0 ? line.nextElementSibling : line.previousElementSibling; while (line && line.hidden);
      if (line) { line.focus(); event.preventDefault(); }
    });
  };

  const search = () => {
    const wanted = $("search").value.trim().toLowerCase();
    let found = 0;
    for (const line of $("transcript").children) {
      const row = rows[line.dataset.at];
      const is = !wanted || `${row.text} ${row.speaker || ""}`.toLowerCase().includes(wanted);
      line.hidden = !is;
      found += is;
    }
    if (stop && stop.hidden) stopAt([...$("transcript").children].find((line) => !line.hidden) || stop);
    $("found").textContent = wanted ? `${found} of ${rows.length} segments` : "";
  };

  const shortened = (text) => (text.length > 60 ? text.slice(0, 60).replace(/\s+\S*$/, "") + "…" : text);
  const moments = (id, score, said) => {
    const best = rows.filter((row) => score(row) !== null).sort((a, b) => score(b) - score(a)).slice(0, 5);
    for (const row of best) {
      const button = element("button", `${clock(row.start)} · ${said(row)} · ${shortened(row.text) || "(no words)"}`, element("li", undefined, $(id)));
      button.type = "button";
      button.addEventListener("click", () => seek(row.id, true));
    }
    if (!best.length) element("li", "none", $(id));
  };

  const columns = [["start", (r) => r.start, clock], ["end", (r) => r.end, clock], ["speaker", (r) => r.speaker || ""], ["text", (r) => r.text]]
    .concat(dimensions.map((name) => [name, (r) => r[name].fused, number]))
    .concat([["disagreement", (r) => r.disagreement, number], ["words from", (r) => r.text_source]])
    .concat(rows.some((r) => r.draft) ? [["rated by", (r) => r.draft ? "draft" : "full model"]] : []);
  let sorted = { at: 0, rising: true };
  const fillTable = () => {
    const [, get] = columns[sorted.at];
    const order = rows.slice().sort((a, b) => {
      const [one, two] = [get(a), get(b)];
      if (one === null || two === null) return (one === null) - (two === null);
      return (one < two ? -1 : one > two ? 1 : 0) * (sorted.rising ? 1 : -1);
    });
    const body = $("table").tBodies[0];
    body.replaceChildren();
    for (const row of order) {
      const line = element("tr", undefined, body);
      for (const [, value, shown] of columns) element("td", (shown || String)(value(row)), line);
    }
    [...$("table").tHead.rows[0].cells].forEach((cell, at) =>
      cell.setAttribute("aria-sort", at === sorted.at ? (sorted.rising ? "ascending" : "descending") : "none"));
  };
  const makeTable = () => {
    const head = $("table").tHead.rows[0];
    columns.forEach(([name], at) => {
      const cell = element("th", undefined, head);
      cell.scope = "col";
      const button = element("button", name, cell);
      button.type = "button";
      button.addEventListener("click", () => {
        sorted = { at, rising: sorted.at === at ? !sorted.rising : true };
        fillTable();
      });
    });
    $("all").addEventListener("toggle", () => { if ($("all").open && !$("table").tBodies[0].rows.length) fillTable(); });
  };
  const download = () => {
    const guarded = (text) => (/^[=+\-@\t\r]/.test(text) ? "'" + text : text);
    const cell = (value) => (value === null ? "" : typeof value === "number" ? String(value) : `"${guarded(value).replaceAll('"', '""')}"`);
    const lines = [columns.map(([name]) => cell(name))].concat(rows.map((row) => columns.map(([, get]) => cell(get(row)))));
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([lines.map((line) => line.join(",")).join("\n") + "\n"], { type: "text/csv" }));
    link.download = data.name + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  $("smooth").checked = total > SHORT; // of a clip nothing would be left
  listTranscript();
  drawLanes();
  dimensions.forEach(drawChart);
  makeTable();
  moments("intense", (row) => row.arousal.fused, (row) => `arousal ${number(row.arousal.fused)}`);
  moments("contradictory", (row) => row.disagreement, (row) => `apart by ${number(row.disagreement)}`);
  paint();
  for (const radio of document.querySelectorAll("input[name=dimension]"))
    radio.addEventListener("change", () => { chosen = radio.value; paint(); });
  $("smooth").addEventListener("change", () => dimensions.forEach(drawChart));
  $("search").addEventListener("input", search);
  $("download").addEventListener("click", download);
  for (const box of document.querySelectorAll("svg.chart, svg.lanes"))
    box.addEventListener("click", (event) => {
      const area = box.getBoundingClientRect(), seconds = ((event.clientX - area.left) / area.width) * total;
      const at = rows.findLastIndex((row) => row.start <= seconds);
      if (at >= 0) seek(at, Boolean(audio) && !audio.paused);
    });
  if (audio) audio.addEventListener("timeupdate", () => show(audio.currentTime, $("follow").checked && !audio.paused));
})();
