/** Passes the module's log to `hear` instead of the console while the work goes on. */
export async function hearLog<Result>(
  work: () => Promise<Result>,
  hear: (line: string) => void = () => undefined,
): Promise<Result> {
  const { log, error } = console;
  console.log = (line: unknown) => hear(String(line));
  // The engine prints scheduled functions that fail.
  console.error = () => undefined;
  try {
    return await work();
  } finally {
    Object.assign(console, { log, error });
  }
}
