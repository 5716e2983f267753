//! Memory and processor time of a process, as the operating system reports them. Linux only: elsewhere these are errors.

use std::io;
use std::time::Duration;

/// `sysconf(_SC_CLK_TCK)`, which is this on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// The memory that the process occupies now.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| unreadable("VmRSS"))
}

/// The processor time that all threads of the process have used, to the hundredth of a second.
pub fn processor_time(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses, which may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Option<Vec<u64>> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().ok())
        .collect();
    match ticks.as_deref() {
        Some([user, system]) => Ok(Duration::from_millis(
            (user + system) * 1000 / TICKS_PER_SECOND,
        )),
        _ => Err(unreadable("utime")),
    }
}

fn unreadable(field: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{field} of a process cannot be read"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_the_processor() {
        let this = std::process::id();
        assert!(resident_bytes(this).unwrap() > 1_000_000);
        let before = processor_time(this).unwrap();
        let mut sum = 0_u64;
        while processor_time(this).unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
