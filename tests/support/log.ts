/** The module's log, while work goes on: for a deployment's log, so only `hear` gets its lines. */
export async function hearLog<Result>(
  work: () => Promise<Result>,
  hear: (line: string) => void = () => undefined,
): Promise<Result> {
  const { log, error } = console;
  console.log = (line: unknown) => hear(String(line));
  // The engine, too, says which scheduled function failed.
  console.error = () => undefined;
  try {
    return await work();
  } finally {
    Object.assign(console, { log, error });
  }
}
