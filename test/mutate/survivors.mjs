/** Mutants that survive, and why no test could or should notice them. */
export const survivors = []
