/** What can keep a stage from starting anything for a while, as a circuit does. */
export interface Gate {
  /** Whether everything may start, only so many as a probe, or nothing; and with nothing, nothing is asked for. */
  readonly flow: "all" | "probes" | "none"
  /** Whether one more may start now. */
  readonly admits: boolean
  /** Calls back when either may have changed, until it is cancelled. */
  readonly onChange: (listener: () => void) => () => void
}
