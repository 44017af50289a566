//! The timestamp extension.

use crate::cdtp::timestamp::Timestamp;

/// The code of the extension.
pub(in crate::cdtp) const CODE: i8 = -1;

/// The extension of a time, in the shortest of the three forms that holds it.
pub(super) fn write(out: &mut Vec<u8>, time: Timestamp) {
    let start = out.len();
    write_data(out, time);
    let code = CODE as u8;
    let head: &[u8] = match out.len() - start {
        4 => &[0xd6, code],
        8 => &[0xd7, code],
        _ => &[0xc7, 12, code],
    };
    out.splice(start..start, head.iter().copied());
}

/// The 4, 8 or 12 bytes of a time.
pub(in crate::cdtp) fn write_data(out: &mut Vec<u8>, time: Timestamp) {
    let (seconds, nanoseconds) = (time.seconds(), time.nanoseconds());
    match u64::try_from(seconds) {
        Ok(seconds) if seconds >> 34 == 0 => match u32::try_from(seconds) {
            Ok(seconds) if nanoseconds == 0 => out.extend_from_slice(&seconds.to_be_bytes()),
            _ => {
                let both = u64::from(nanoseconds) << 34 | seconds;
                out.extend_from_slice(&both.to_be_bytes());
            }
        },
        _ => {
            out.extend_from_slice(&nanoseconds.to_be_bytes());
            out.extend_from_slice(&seconds.to_be_bytes());
        }
    }
}

/// The time of the bytes of an extension, in any of the three forms; `Err` is the rule that they break.
pub(in crate::cdtp) fn read(data: &[u8]) -> Result<Timestamp, &'static str> {
    let (seconds, nanoseconds) = if let Ok(bytes) = data.try_into() {
        (u32::from_be_bytes(bytes).into(), 0)
    } else if let Ok(bytes) = data.try_into() {
        let both = u64::from_be_bytes(bytes);
        ((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32)
    } else if let Some((nanoseconds, seconds)) = data.split_first_chunk()
        && let Ok(seconds) = seconds.try_into()
    {
        (
            i64::from_be_bytes(seconds),
            u32::from_be_bytes(*nanoseconds),
        )
    } else {
        return Err("a timestamp has 4, 8 or 12 bytes");
    };
    Timestamp::checked(seconds, nanoseconds)
        .ok_or("the nanoseconds of a timestamp are below 1,000,000,000")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(seconds: i64, nanoseconds: u32) -> usize {
        let time = Timestamp::new(seconds, nanoseconds).unwrap();
        let mut bytes = Vec::new();
        write(&mut bytes, time);
        let data = if bytes[0] == 0xc7 {
            &bytes[3..]
        } else {
            &bytes[2..]
        };
        assert_eq!(read(data), Ok(time));
        data.len()
    }

    #[test]
    fn the_shortest_form_is_written() {
        assert_eq!(form(0, 0), 4);
        assert_eq!(form(u32::MAX.into(), 0), 4);
        assert_eq!(form(1 << 32, 0), 8);
        assert_eq!(form(0, 1), 8);
        assert_eq!(form((1 << 34) - 1, 999_999_999), 8);
        assert_eq!(form(1 << 34, 0), 12);
        assert_eq!(form(-1, 0), 12);
        assert_eq!(form(i64::MIN, 999_999_999), 12);
    }

    #[test]
    fn other_lengths_and_too_many_nanoseconds_are_refused() {
        for length in [0, 1, 3, 5, 7, 9, 11, 13] {
            assert!(read(&vec![0; length]).is_err(), "{length}");
        }
        assert!(read(&[0xff; 8]).is_err());
        assert!(read(&[0xff; 12]).is_err());
    }
}
