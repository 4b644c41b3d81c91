// Draws the figures of a page, and keeps its live parts up to date. Without it all else of the page is there.
"use strict";

const script = document.currentScript;
const drawn = new WeakMap();
let plotly = null;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** What figures leave out: colours and font of the page, so that they suit light, dark and paper. */
function template() {
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line") };
  return {
    layout: {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--muted") },
      xaxis: axis,
      yaxis: axis,
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") }, align: "left" },
    },
  };
}

function loadPlotly() {
  plotly ??= new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = script.dataset.plotly;
    element.onload = () => resolve(window.Plotly);
    element.onerror = reject;
    document.head.append(element);
  });
  return plotly;
}

async function draw(figure) {
  const plot = figure.querySelector(".plot");
  const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
  const Plotly = await loadPlotly();
  plot.style.minHeight = `${plot.dataset.height}px`; // more, where what stands beside it is higher
  await Plotly.react(plot, data, { ...layout, template: template(), height: undefined, autosize: true }, {
    displayModeBar: false,
    responsive: true,
  });
  if (!drawn.has(figure)) {
    drawn.set(figure, true);
    plot.on("plotly_click", ({ points }) => follow(points[0]?.customdata));
  }
}

/** Opens the page of the run that a point stands for. */
function follow(trial) {
  if (typeof trial === "string") location.assign(`${script.dataset.plotly.replace(/\/assets\/.*/, "")}/trials/${encodeURIComponent(trial)}`);
}

function drawAll() {
  for (const figure of document.querySelectorAll("figure.chart")) draw(figure).catch(console.error);
}

/** Asks for the page again and takes over what changed in its live parts. */
async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (now && !part.contains(document.activeElement) && !part.querySelector("details[open]")) takeOver(part, now);
  }
  if (fresh.querySelectorAll("[data-live]").length !== document.querySelectorAll("[data-live]").length) location.reload();
  document.body.dataset.refreshSeconds = fresh.body.dataset.refreshSeconds ?? "";
}

function takeOver(part, now) {
  const data = part.querySelector("script");
  if (data === null) {
    if (part.innerHTML !== now.innerHTML) part.innerHTML = now.innerHTML;
  } else if (data.textContent !== now.querySelector("script").textContent) {
    data.textContent = now.querySelector("script").textContent;
    draw(part).catch(console.error);
  }
}

function schedule() {
  const seconds = Number(document.body.dataset.refreshSeconds);
  if (!seconds) return;
  setTimeout(async () => {
    if (!document.hidden) await refresh().catch(() => {}); // the server may be away for a while
    schedule();
  }, 1000 * seconds);
}

drawAll();
schedule();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
