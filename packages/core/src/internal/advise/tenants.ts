/** Which of many tenants has most of the slots. */
import type * as Figures from "../../Figures.js"

/** From here on a tenant is noisy: its part of the slots' time. SQS's fair queues begin at a tenth of what is in flight. */
const noisy = 0.4
/** So many groups share at least: of two, one has half. */
const several = 4

/** Of a queue without order, where several groups have messages here and nothing shares the slots among them. */
export const noisiest = ({ groups, groupsInFlight, settings, stats }: Figures.Interval): Figures.Group | undefined => {
  if (settings.ordered || stats.overShare > 0 || groupsInFlight < several) return undefined
  const [most] = [...groups].sort((a, b) => b.time - a.time)
  return most !== undefined && most.time >= noisy ? most : undefined
}
