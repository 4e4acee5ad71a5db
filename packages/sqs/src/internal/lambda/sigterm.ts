/**
 * What is closed on SIGTERM, by one listener for all handlers of a process: Node ends a process by this signal unless
 * somebody listens, and so where that was us alone we end it, when the last of them has closed.
 */
type Close = () => Promise<void>

const open = new Set<Close>()
let closing = false

const closeAll = async (): Promise<void> => {
  closing = true
  // Those too that are made meanwhile: none of them listens, or the process would not end.
  while (open.size > 0) {
    const all = [...open]
    open.clear()
    await Promise.allSettled(all.map((close) => close()))
  }
  closing = false
  if (process.listenerCount("SIGTERM") === 0) process.exit(0)
}

export const add = (close: Close): void => {
  if (open.size === 0 && !closing) process.once("SIGTERM", closeAll)
  open.add(close)
}

export const remove = (close: Close): void => {
  if (open.delete(close) && open.size === 0) process.removeListener("SIGTERM", closeAll)
}
