import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** Of a second. */
const CLOCK_TICKS = 100;

/** Resident memory of a process in MB; 0 where it is gone. */
export function residentMb(pid: number): number {
  return (readStatus(pid, "VmRSS") ?? residentByPs(pid)) / 1024;
}

/** The most resident memory that it ever had, in MB, as the kernel has kept it; null where the system does not say. */
export function peakResidentMb(pid: number): number | null {
  const kb = readStatus(pid, "VmHWM");
  return kb === null ? null : kb / 1024;
}

/** Processor time of all its threads so far, user and system, in seconds; null where the system does not say. */
export function cpuSeconds(pid: number): number | null {
  const user = readStatField(String(pid), 11);
  const system = readStatField(String(pid), 12);
  return user === null || system === null ? null : (user + system) / CLOCK_TICKS;
}

/**
 * A field of /proc/<pid>/stat, counted from the state, which is 0.
 * https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
 */
function readStatField(pid: string, index: number): number | null {
  try {
    // The name in parentheses before it may hold blanks.
    return Number(
      readFileSync(`/proc/${pid}/stat`, "utf8")
        .replace(/^.*\) /s, "")
        .split(" ")[index],
    );
  } catch {
    return null;
  }
}

/** The same of all processes that it has started and that live now, such as a server's backends. */
export function childrenCpuSeconds(parent: number): number | null {
  if (process.platform !== "linux") return null;
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const children = pids.filter((pid) => readStatField(pid, 1) === parent);
  return children.reduce((sum, pid) => sum + (cpuSeconds(Number(pid)) ?? 0), 0);
}

/** The same of all processes that it has ever started, those that have ended included. */
export function offspringCpuSeconds(parent: number): number | null {
  const living = childrenCpuSeconds(parent);
  const ended = [13, 14].map((field) => readStatField(String(parent), field) ?? 0);
  return living === null ? null : ended.reduce((sum, ticks) => sum + ticks / CLOCK_TICKS, living);
}

/** A field of /proc/<pid>/status in kB; null elsewhere than on Linux. */
function readStatus(pid: number, field: string): number | null {
  try {
    const match = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return match === null ? 0 : Number(match[1]);
  } catch {
    return process.platform === "linux" ? 0 : null;
  }
}

function residentByPs(pid: number): number {
  try {
    return Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" }));
  } catch {
    return 0;
  }
}
