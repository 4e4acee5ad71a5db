/** What `f` gives, or `otherwise` where it throws: for what another has made, which may throw when it is looked at. */
export const attempt = <A, B>(f: () => A, otherwise: B): A | B => {
  try {
    return f()
  } catch {
    return otherwise
  }
}
