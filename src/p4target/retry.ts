/** How often and how long to try again, as data. Times in milliseconds. */
export interface RetryPolicy {
  /** Tries in all, the first included. */
  readonly attempts: number;
  readonly firstDelay: number;
  readonly maxDelay: number;
  readonly factor: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 5, firstDelay: 50, maxDelay: 2000, factor: 3 };

/** The wait before try number `attempt` (2, 3, …), spread by half so that several clients do not come in step. */
export function retryDelay(policy: RetryPolicy, attempt: number, random: () => number): number {
  const full = Math.min(policy.maxDelay, policy.firstDelay * policy.factor ** (attempt - 2));
  return full * (0.5 + random() / 2);
}

/**
 * Runs `action` until it succeeds, fails with an error that `again` does not want, or the tries are used up; then its
 * error is thrown.
 */
export async function retried<T>(
  policy: RetryPolicy,
  again: (error: unknown) => boolean,
  action: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (attempt >= policy.attempts || !again(error)) throw error;
    }
    const delay = retryDelay(policy, attempt + 1, Math.random);
    await new Promise((resolve) => setTimeout(resolve, delay));
  }
}
