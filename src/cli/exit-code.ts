/** Exit codes of `weir`; the two large ones are sysexits.h's. */
export const EXIT_OK = 0
/** Something is wrong: a problem, a pod that is not enrolled, an object that is not valid. */
export const EXIT_WRONG = 1
/** EX_USAGE: the command line. */
export const EXIT_USAGE = 64
/** EX_UNAVAILABLE: the agent cannot be reached. */
export const EXIT_UNREACHABLE = 69
