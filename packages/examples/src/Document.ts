/** An HTML page that needs nothing beside itself, and what its sections are made of. */
import { type Chart, escape, figure } from "./backpressure/Chart.js"

const style = `
:root { color-scheme: light dark; --ground: #fbfaf7; --text: #1d2530; --soft: #5a6472; --rule: #dcd9d2;
  --band: #f1e3c4; --line-1: #0b6e75; --line-2: #b3402a; --limit: #1d2530 }
@media (prefers-color-scheme: dark) { :root { --ground: #14181d; --text: #e6e3dc; --soft: #a2a9b3; --rule: #303842;
  --band: #3a3222; --line-1: #4fc3c7; --line-2: #f08a6c; --limit: #e6e3dc } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.55 system-ui, sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0 }
h2 { font-size: 1.3rem; margin: 2.5rem 0 0.5rem; padding-top: 1rem; border-top: 1px solid var(--rule) }
h3 { font-size: 1rem; margin: 1rem 0 0.25rem }
p { max-width: 42rem; margin: 0.5rem 0 }
dl { display: flex; flex-wrap: wrap; gap: 0.5rem 1.75rem; margin: 0.5rem 0 1rem }
dt { font-size: 0.8rem; color: var(--soft) }
dd { margin: 0; font-size: 1.1rem; font-variant-numeric: tabular-nums }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem }
figure { margin: 0; min-width: 0 }
figcaption { font-weight: 600; font-size: 0.95rem }
figure > svg { display: block; width: 100%; height: auto }
text { font: 13px system-ui, sans-serif; fill: var(--soft) }
.grid { stroke: var(--rule) }
.band { fill: var(--band) }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round }
.line-1 { stroke: var(--line-1) }
.line-2 { stroke: var(--line-2); stroke-dasharray: 6 3 }
.limit { stroke: var(--limit); stroke-dasharray: 2 4 }
.table { overflow-x: auto }
table { border-collapse: collapse; font-size: 0.9rem }
th, td { text-align: left; padding: 0.3rem 1rem 0.3rem 0; border-bottom: 1px solid var(--rule); vertical-align: top }
th { font-weight: 400; color: var(--soft) }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0.25rem 0 0; padding: 0; font-size: 0.85rem }
.legend li { display: flex; align-items: center; gap: 0.5rem }
.legend svg { width: 24px; height: 8px }
`

export const facts = (entries: ReadonlyArray<readonly [term: string, value: string]>): string =>
  `<dl>${entries.map(([term, value]) => `<div><dt>${escape(term)}</dt><dd>${escape(value)}</dd></div>`).join("")}</dl>`

export const section = (
  title: string,
  words: ReadonlyArray<string>,
  html: string,
  charts: ReadonlyArray<Chart>
): string =>
  `<section><h2>${escape(title)}</h2>${words.map((text) => `<p>${escape(text)}</p>`).join("")}${html}<div class="charts">${charts.map(figure).join("")}</div></section>`

/** `body` is HTML, `title` and `words` are text. */
export const page = (title: string, words: string, body: string): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escape(title)}</h1>
<p>${escape(words)}</p>
${body}
</main>
</body>
</html>
`
