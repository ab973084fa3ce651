// Opens pages in a real browser and prints, as JSON, what it saw of each: for tests/report_browser.rs.
//
//   node look.mjs <node_modules> <chromium> <shots-folder or -> <page.html>...
//
// Every page is looked at in two sizes and both colour schemes, with every <details> closed and then open.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';
import fs from 'node:fs';

const [modules, chromium, shots, ...pages] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), 'package.json'));
const { chromium: driver } = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const sizes = [{ width: 360, height: 800 }, { width: 1440, height: 900 }];
const schemes = ['light', 'dark'];
const browser = await driver.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] });
const seen = [];
try {
  for (const page of pages) for (const size of sizes) for (const scheme of schemes) {
    seen.push(await look(page, size, scheme));
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen, null, 1));

async function look(file, size, scheme) {
  // The driver's own scripts go round the page's policy; the page itself is as a reader has it.
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, bypassCSP: false, locale: 'en-GB' });
  // A browser on a busy machine may take its time.
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  const url = pathToFileURL(path.resolve(file)).href;
  const messages = [];
  const requests = [];
  page.on('console', (message) => messages.push(message.text()));
  page.on('pageerror', (error) => messages.push(String(error)));
  page.on('dialog', async (dialog) => { messages.push(`dialog: ${dialog.message()}`); await dialog.dismiss(); });
  page.on('request', (request) => { if (request.url() !== url) requests.push(request.url()); });
  await page.goto(url, { waitUntil: 'load' });
  const name = `${path.basename(file, '.html')}-${size.width}-${scheme}`;
  await picture(page, name, size);
  const closed = await measure(page);
  await page.evaluate(() => document.querySelectorAll('details').forEach((one) => { one.open = true; }));
  await picture(page, `${name}-open`, size);
  const open = await measure(page);
  const wide = await page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    const scrolls = (one) => one.closest('.scroll, pre');
    const tooWide = (one) => one.getBoundingClientRect().right > room + 1 && !scrolls(one) && !one.closest('svg, thead, .skip');
    return [...document.querySelectorAll('body *')].filter(tooWide).map((one) => one.outerHTML.slice(0, 120));
  });
  const found = await page.evaluate(() => ({
    bars: document.querySelectorAll('svg.chart g.run').length,
    drawn: [...document.querySelectorAll('svg.chart g.run')].filter((bar) => bar.getBoundingClientRect().width > 0).length,
    scripts: document.scripts.length,
    links: [...document.links].map((link) => link.getAttribute('href')),
    background: getComputedStyle(document.body).backgroundColor,
    font: parseFloat(getComputedStyle(document.body).fontSize),
    chartScrolls: (() => { const box = document.querySelector('.scroll'); return box ? box.scrollWidth > box.clientWidth : null; })(),
    headings: [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((one) => Number(one.tagName[1])),
  }));
  const before = [messages.length, requests.length];
  // Axe is brought in by the driver, beside the page's policy.
  await page.evaluate(axe);
  const judged = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  const violations = judged.violations.map(({ id, impact, nodes }) => (
    { id, impact, nodes: nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} :: ${node.any.map((one) => one.message).join('; ').slice(0, 200)}`) }));
  await context.close();
  return { page: path.basename(file), width: size.width, scheme, messages: messages.slice(0, before[0]), requests: requests.slice(0, before[1]), closed, open, wide, violations, checks: judged.passes.length, ...found };
}

// No browser paints a picture of any height.
async function picture(page, name, size) {
  if (shots === '-') return;
  const { height } = await measure(page);
  const clip = { x: 0, y: 0, width: size.width, height: Math.min(height, 12_000) };
  await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true, clip });
}

function measure(page) {
  return page.evaluate(() => ({ scroll: document.scrollingElement.scrollWidth, inner: innerWidth, height: document.scrollingElement.scrollHeight }));
}
