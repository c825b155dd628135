//! A moment as the wire writes it, made here: `to_char` in PostgreSQL costs more per row than all the rest of a list.

use serde::{Serialize, Serializer};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Postgres, Type};
use time::OffsetDateTime;

/// 2000-01-01, from which PostgreSQL counts, in unix µs.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// A `timestamptz`, in unix µs. What has no date, infinity above all, is served as the beginning of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(i64);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let bytes: [u8; 8] = value.as_bytes()?.try_into()?;
                Ok(Self(i64::from_be_bytes(bytes).checked_add(POSTGRES_EPOCH_US).unwrap_or_default()))
            }
            PgValueFormat::Text => Err("a time that is not binary".into()),
        }
    }
}

impl Moment {
    /// RFC 3339 in UTC with microseconds, as `realtime.time_text` has it: `2026-11-22T23:30:05.000042Z`. Digit by digit,
    /// since a list writes thousands of them.
    fn text(self) -> [u8; 27] {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000);
        let at = at.ok().filter(|at| (1..=9999).contains(&at.year())).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (hour, minute, second, micro) = at.to_hms_micro();
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let parts = [
            (0, 4, at.year().unsigned_abs()),
            (5, 2, u8::from(at.month()).into()),
            (8, 2, at.day().into()),
            (11, 2, hour.into()),
            (14, 2, minute.into()),
            (17, 2, second.into()),
            (20, 6, micro),
        ];
        for (start, digits, mut number) in parts {
            for place in text[start..start + digits].iter_mut().rev() {
                // One digit: it fits.
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        text
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        serializer.serialize_str(str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(moment: Moment) -> String {
        String::from_utf8(moment.text().to_vec()).expect("digits")
    }

    #[test]
    fn a_moment_is_written_in_utc_with_microseconds() {
        assert_eq!(text(Moment(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(Moment(1_795_390_205_000_042)), "2026-11-22T23:30:05.000042Z");
        assert_eq!(text(Moment(-1)), "1969-12-31T23:59:59.999999Z");
        assert_eq!(text(Moment(i64::MAX)), "1970-01-01T00:00:00.000000Z");
    }
}
