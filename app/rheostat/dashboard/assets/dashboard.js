// Draws the figures of a page, and keeps its live parts up to date. Without it all else of the page is there.
"use strict";

const script = document.currentScript;
const drawn = new WeakMap();
let plotly = null;
let tag = null; // of the page as it was sent last
let failures = 0; // to refresh it, in a row
let upToDateAt = new Date();
let timer = null;

const LONGEST_DELAY_SECONDS = 60;

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

/** Asks for the page again and takes over what changed in its live parts; returns why that failed, if it did. */
async function refresh() {
  const headers = { Accept: "text/html", ...(tag && { "If-None-Match": tag }) };
  const answer = await fetch(location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(30000) });
  if (answer.status === 304) return "";
  if (answer.redirected) return "You are signed out: load the page again to sign in.";
  if (!answer.ok) return `The server answers with an error (${answer.status}).`;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  tag = answer.headers.get("ETag");
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (now && !part.contains(document.activeElement) && !part.querySelector("details[open]")) takeOver(part, now);
    else tag = null; // asked for again, whatever changes
  }
  if (fresh.querySelectorAll("[data-live]").length !== document.querySelectorAll("[data-live]").length) location.reload();
  document.body.dataset.refreshSeconds = fresh.body.dataset.refreshSeconds ?? "";
  return "";
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

/** Refreshes the page while it is visible, and says since when it is out of date where that fails. */
async function keepUp() {
  clearTimeout(timer);
  if (!document.hidden) {
    const why = await refresh().catch(() => "The server does not answer.");
    failures = why ? failures + 1 : 0;
    if (!why) upToDateAt = new Date();
    const away = document.getElementById("away");
    away.hidden = !why;
    away.textContent = why && `${why} What you see is as of ${upToDateAt.toISOString().slice(11, 19)} UTC.`;
  }
  schedule();
}

/** Refreshes the page after a while: the longer the server is away, the less often. */
function schedule() {
  const seconds = Number(document.body.dataset.refreshSeconds);
  if (!seconds) return;
  const delay = failures ? Math.min(seconds * 2 ** failures, LONGEST_DELAY_SECONDS) : seconds;
  timer = setTimeout(keepUp, 1000 * delay * (0.9 + 0.2 * Math.random())); // not all pages at once
}

drawAll();
schedule();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && timer !== null) keepUp();
});
