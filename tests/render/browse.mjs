// Opens a report in Chromium as a person would, and prints what was found as one JSON document.
// In: the program, the page's file. Out: console and requests, findings of axe and of html-validate, what filters and keys did.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, program, page] = process.argv.slice(2);
const require = createRequire(pathToFileURL(modules + "/"));
const { chromium } = require("playwright-core");
const { HtmlValidate } = require("html-validate");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const found = { said: [], requests: [], axe: [], overflow: [], html: [], steps: {} };

const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
const open = async (options) => {
  const tab = await (await browser.newContext(options)).newPage();
  tab.on("console", (message) => found.said.push(message.text()));
  tab.on("pageerror", (error) => found.said.push(String(error)));
  tab.on("dialog", (dialog) => found.said.push(dialog.message()) && dialog.dismiss());
  tab.on("request", (request) => found.requests.push(request.url()));
  await tab.goto(pathToFileURL(page).href);
  return tab;
};

for (const [width, colorScheme] of [[360, "dark"], [800, "light"], [1280, "light"]]) {
  const tab = await open({ viewport: { width, height: 900 }, colorScheme });
  await tab.evaluate(axe);
  const { violations } = await tab.evaluate(() => globalThis.axe.run());
  found.axe.push(...violations.map((one) => `${width} ${one.id}: ${one.nodes[0].html.slice(0, 120)} ${one.nodes[0].failureSummary}`));
  found.overflow.push(await tab.evaluate(() => document.documentElement.scrollWidth - innerWidth));
  await tab.context().close();
}

const tab = await open({ viewport: { width: 1280, height: 900 } });
const shown = () => tab.locator("#shown").textContent();
const seen = (rows) => tab.locator(rows).evaluateAll((all) => all.filter((one) => one.offsetParent !== null).length);
found.steps.all = await shown();
await tab.keyboard.press("Tab");
found.steps.focused = await tab.evaluate(() => document.activeElement.id);
await tab.keyboard.type("fund 1");
found.steps.searched = await shown();
await tab.fill("#search", "");
await tab.selectOption("#filter-need", "any");
found.steps.needing = await shown();
await tab.selectOption("#filter-need", "all");
await tab.selectOption("#filter-1", { index: 1 });
found.steps.labelled = [await shown(), await seen("#problems tbody tr"), await seen("#groups tbody tr")];
await tab.selectOption("#by-key", { index: 1 });
found.steps.timeline = await seen(".timeline tbody tr");
await tab.selectOption("#filter-1", "all");
await tab.focus("#more");
await tab.keyboard.press("Enter");
found.steps.paged = await shown();
await tab.focus("summary");
await tab.keyboard.press("Enter");
found.steps.opened = await tab.evaluate(() => document.querySelector("details").open);
await tab.emulateMedia({ media: "print", colorScheme: "dark" });
found.steps.printed = [await seen("#filters"), await tab.evaluate(() => getComputedStyle(document.body).backgroundColor)];
await tab.setViewportSize({ width: 720, height: 1000 }); // A4, without its margins
found.overflow.push(await tab.evaluate(() => document.querySelector(".heat").offsetWidth - innerWidth));
await tab.context().close();

const plain = await open({ javaScriptEnabled: false });
found.steps.scriptless = await plain.locator("#problems tbody tr").count();
await browser.close();

const report = await new HtmlValidate({ extends: ["html-validate:standard"] }).validateFile(page);
found.html = report.results.flatMap((one) => one.messages.map((m) => `${m.line}: ${m.ruleId}: ${m.message}`));
process.stdout.write(JSON.stringify(found));
