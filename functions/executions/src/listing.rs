//! Lists of runs by a status of a dialect, which may stand for several of ours.

use std::cmp::Reverse;

use domain::Result;
use domain::ids::{AgentId, WorkspaceId};
use domain::page::{Page, PageRequest, REACH};
use domain::run::{Run, RunStatus};
use futures::future::try_join_all;
use store::{RunFilter, Store};

/// The statuses that are `status` in a dialect.
pub(crate) fn statuses_shown_as<S: From<RunStatus> + PartialEq>(status: S) -> Vec<RunStatus> {
    let all = RunStatus::ALL.into_iter();
    all.filter(|of| S::from(*of) == status).collect()
}

/// An agent's runs in one of `statuses`, in any where there are none; newest first.
pub(crate) async fn runs_in(
    store: &Store,
    workspace: WorkspaceId,
    agent: AgentId,
    statuses: Option<&[RunStatus]>,
    filter: &RunFilter,
    page: &PageRequest,
) -> Result<Page<Run>> {
    let Some(statuses) = statuses else {
        return store.runs(workspace, agent, filter, page).await;
    };
    let filters: Vec<RunFilter> = statuses
        .iter()
        .map(|status| RunFilter {
            status: Some(*status),
            ..filter.clone()
        })
        .collect();
    if let [filter] = filters.as_slice() {
        return store.runs(workspace, agent, filter, page).await;
    }
    // Each list could be the one that fills the page.
    let whole = PageRequest {
        limit: page.limit.saturating_add(page.offset),
        offset: 0,
        ..page.clone()
    };
    let lists = filters
        .iter()
        .map(|filter| store.runs(workspace, agent, filter, &whole));
    let pages = try_join_all(lists).await?;
    Ok(merged(pages, page, |run| run.id))
}

/// One page of several lists whose ids fall, each read up to the page's end.
fn merged<T, I: Ord + ToString>(
    pages: Vec<Page<T>>,
    wanted: &PageRequest,
    id_of: impl Fn(&T) -> I,
) -> Page<T> {
    let mut more = pages.iter().any(|page| page.next_cursor.is_some());
    let totals: Option<u32> = pages.iter().map(|page| page.total).sum();
    let mut items: Vec<T> = pages.into_iter().flat_map(|page| page.items).collect();
    items.sort_by_key(|item| Reverse(id_of(item)));

    let offset = wanted.offset as usize;
    let end = offset + wanted.limit.get() as usize;
    more |= items.len() > end;
    let items: Vec<T> = items.into_iter().take(end).skip(offset).collect();
    let last = items.last().map(|item| id_of(item).to_string());
    Page {
        next_cursor: last.filter(|_| more),
        total: totals.map(|total| total.min(REACH)),
        items,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(items: &[u32], next_cursor: Option<u32>, total: u32) -> Page<u32> {
        Page {
            items: items.to_vec(),
            next_cursor: next_cursor.map(|id| id.to_string()),
            total: Some(total),
        }
    }

    #[test]
    fn merged_lists_are_one_list() {
        let first = PageRequest::first(2);
        let second = PageRequest {
            offset: 2,
            ..first.clone()
        };
        let lists = || vec![page(&[9, 5, 4], None, 3), page(&[8, 3], None, 700)];
        let at_start = merged(lists(), &first, |id| *id);
        assert_eq!(at_start.items, [9, 8]);
        assert_eq!(at_start.next_cursor.as_deref(), Some("8"));
        assert_eq!(at_start.total, Some(703));
        assert_eq!(merged(lists(), &second, |id| *id).items, [5, 4]);

        let ends = vec![page(&[9], None, 1), page(&[8], None, 1)];
        assert_eq!(merged(ends, &first, |id| *id).next_cursor, None);
        let goes_on = vec![page(&[9, 7], Some(7), 600), page(&[], None, 600)];
        let goes_on = merged(goes_on, &first, |id| *id);
        assert_eq!(goes_on.next_cursor.as_deref(), Some("7"));
        assert_eq!(goes_on.total, Some(REACH));
    }
}
