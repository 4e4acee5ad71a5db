/** A diagnosis for a reader at a terminal. */
import type { Diagnosis } from "./finding.js"
import { number, percent, perSecond, time } from "./words.js"

/** As lines of plain text, for a terminal or a log. */
export const render = (diagnosis: Diagnosis): string => {
  const { findings, lag, queue, verdict } = diagnosis
  const figures = `${perSecond(lag.arrivals)} come, ${perSecond(lag.throughput)} are done, ${number(lag.visible)} wait${
    lag.waited === undefined ? "" : `, received after ${time(lag.waited)}`
  }`
  const head =
    verdict === "healthy"
      ? `${queue} is healthy: ${figures}.`
      : verdict === "attention"
        ? `${queue} keeps up (${figures}), but:`
        : `${queue} is behind: ${figures}.`
  if (verdict === "behind" && findings.length === 0) {
    return `${head}\nNo figure of this consumer shows why: look at the other consumers of the queue.`
  }
  const lines = findings.flatMap(({ advice, evidence, score, title, why }, i) => [
    "",
    `${i + 1}. ${title}${verdict === "behind" ? ` (explains ${percent(score)})` : ""}`,
    `   ${evidence}`,
    ...advice.map(({ text }) => `   → ${text}`),
    `   Why: ${why}`
  ])
  return [head, ...lines].join("\n")
}
