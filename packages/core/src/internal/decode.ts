import type * as ParseResult from "effect/ParseResult"

/** What is wrong at which path, without the values: a log line must not hold the body. */
export const describe = (issue: ParseResult.ParseIssue): string => {
  const lines: Array<string> = []
  walk(issue, "", lines)
  const shown = lines.slice(0, 5)
  if (lines.length > shown.length) shown.push(`and ${lines.length - shown.length} more`)
  return shown.join("; ")
}

const walk = (issue: ParseResult.ParseIssue, path: string, lines: Array<string>): void => {
  const at = path === "" ? "the body" : path
  switch (issue._tag) {
    case "Pointer": {
      const keys: ReadonlyArray<PropertyKey> = typeof issue.path === "object" ? issue.path : [issue.path]
      walk(issue.issue, keys.reduce<string>(join, path), lines)
      return
    }
    case "Composite": {
      const issues = Array.isArray(issue.issues) ? issue.issues : [issue.issues]
      for (const inner of issues) walk(inner, path, lines)
      return
    }
    case "Refinement":
    case "Transformation":
      if (issue.kind === "Predicate" || issue.kind === "Transformation") {
        lines.push(`${at}: expected ${issue.ast.toString()}`)
        return
      }
      walk(issue.issue, path, lines)
      return
    case "Missing":
      lines.push(`${at}: is missing`)
      return
    case "Unexpected":
      lines.push(`${at}: is unexpected`)
      return
    case "Forbidden":
    case "Type":
      lines.push(`${at}: expected ${issue.ast.toString()}`)
  }
}

const join = (prefix: string, key: PropertyKey): string => {
  const name = String(key)
  if (typeof key === "number" || /^\d+$/.test(name)) return `${prefix}[${name}]`
  return prefix === "" ? name : `${prefix}.${name}`
}
