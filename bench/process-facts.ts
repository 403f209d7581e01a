import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

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
  try {
    // The name in parentheses may hold blanks. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    const CLOCK_TICKS = 100;
    return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
  } catch {
    return null;
  }
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
