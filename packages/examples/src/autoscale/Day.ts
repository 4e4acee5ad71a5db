/** A day of orders: few at night, many at noon, and a campaign in the evening that brings many at once. */
export const queue = "orders"
export const deadLetters = "orders-dlq"

/** Seconds that an order takes; a consumer does one at a time. */
export const work = 30

const hour = 3600
export const day = 24 * hour

/** Orders a second, by the time in seconds, apart from the campaign. */
export const perSecond = (at: number): number => {
  const bell = (middle: number, width: number) => Math.exp(-(((at / hour - middle) / width) ** 2))
  return 0.02 + 0.2 * bell(12.5, 2.2) + 0.08 * bell(18, 1.5)
}

export const campaign = { at: 20 * hour, orders: 250 }

/** How many orders have come until a time in seconds. */
export const arrived = (() => {
  const sums = [0]
  for (let at = 0; at < day; at++) sums.push((sums.at(-1) ?? 0) + perSecond(at))
  return (at: number): number =>
    Math.floor(sums[Math.min(day, Math.floor(at))] ?? 0) + (at >= campaign.at ? campaign.orders : 0)
})()
