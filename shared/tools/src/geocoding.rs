//! Choosing among the places that a geocoder knows by one name.

use serde::Deserialize;

/// A place, in the words of Open-Meteo's geocoding API.
#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    pub(crate) country: Option<String>,
    country_code: Option<String>,
    /// State, province or the like.
    pub(crate) admin1: Option<String>,
    admin2: Option<String>,
}

/// A location as people write it: `Portland`, `97201`, `Portland, ME`, `Paris, Texas, USA`.
pub(crate) struct Query<'a> {
    /// The name that the geocoder searches for: it knows no commas.
    pub(crate) name: &'a str,
    qualifiers: Vec<&'a str>,
}

impl<'a> Query<'a> {
    pub(crate) fn parse(location: &'a str) -> Self {
        let mut parts = location
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        Self {
            name: parts.next().unwrap_or_default(),
            qualifiers: parts.collect(),
        }
    }

    /// Tells whether the query says which of several places of the name is meant.
    pub(crate) fn is_qualified(&self) -> bool {
        !self.qualifiers.is_empty()
    }

    /// The first place that fits: the geocoder lists the likelier first. A place that does not fit is never
    /// chosen instead.
    pub(crate) fn choose(&self, places: Vec<Place>) -> Option<Place> {
        places.into_iter().find(|place| {
            self.qualifiers
                .iter()
                .all(|qualifier| place.lies_in(qualifier))
        })
    }
}

impl Place {
    fn lies_in(&self, qualifier: &str) -> bool {
        let spelled_out = spell_out(qualifier);
        [
            &self.country,
            &self.country_code,
            &self.admin1,
            &self.admin2,
        ]
        .into_iter()
        .flatten()
        .any(|name| {
            name.eq_ignore_ascii_case(qualifier) || spelled_out.is_some_and(|full| name == full)
        })
    }
}

/// The geocoder's name for what people abbreviate.
fn spell_out(abbreviation: &str) -> Option<&'static str> {
    ABBREVIATIONS
        .iter()
        .find(|(short, _)| short.eq_ignore_ascii_case(abbreviation))
        .map(|(_, full)| *full)
}

#[rustfmt::skip]
const ABBREVIATIONS: [(&str, &str); 67] = [
    ("USA", "United States"), ("UK", "United Kingdom"), ("UAE", "United Arab Emirates"),
    ("AL", "Alabama"), ("AK", "Alaska"), ("AZ", "Arizona"), ("AR", "Arkansas"), ("CA", "California"), ("CO", "Colorado"),
    ("CT", "Connecticut"), ("DE", "Delaware"), ("DC", "District of Columbia"), ("FL", "Florida"), ("GA", "Georgia"),
    ("HI", "Hawaii"), ("ID", "Idaho"), ("IL", "Illinois"), ("IN", "Indiana"), ("IA", "Iowa"), ("KS", "Kansas"),
    ("KY", "Kentucky"), ("LA", "Louisiana"), ("ME", "Maine"), ("MD", "Maryland"), ("MA", "Massachusetts"),
    ("MI", "Michigan"), ("MN", "Minnesota"), ("MS", "Mississippi"), ("MO", "Missouri"), ("MT", "Montana"),
    ("NE", "Nebraska"), ("NV", "Nevada"), ("NH", "New Hampshire"), ("NJ", "New Jersey"), ("NM", "New Mexico"),
    ("NY", "New York"), ("NC", "North Carolina"), ("ND", "North Dakota"), ("OH", "Ohio"), ("OK", "Oklahoma"),
    ("OR", "Oregon"), ("PA", "Pennsylvania"), ("RI", "Rhode Island"), ("SC", "South Carolina"), ("SD", "South Dakota"),
    ("TN", "Tennessee"), ("TX", "Texas"), ("UT", "Utah"), ("VT", "Vermont"), ("VA", "Virginia"), ("WA", "Washington"),
    ("WV", "West Virginia"), ("WI", "Wisconsin"), ("WY", "Wyoming"),
    ("AB", "Alberta"), ("BC", "British Columbia"), ("MB", "Manitoba"), ("NB", "New Brunswick"),
    ("NL", "Newfoundland and Labrador"), ("NS", "Nova Scotia"), ("NT", "Northwest Territories"), ("NU", "Nunavut"),
    ("ON", "Ontario"), ("PE", "Prince Edward Island"), ("QC", "Quebec"), ("SK", "Saskatchewan"), ("YT", "Yukon"),
];
