/** Where a delivery stands. Each is a constant of its own, so that a bundle says the number where it is used. */
export const Prefetched = 0
export const HandedOver = 1
export const Claimed = 2
export const Settling = 3
export const Ended = 4

export type Phase = typeof Prefetched | typeof HandedOver | typeof Claimed | typeof Settling | typeof Ended
