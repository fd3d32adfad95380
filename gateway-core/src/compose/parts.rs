//! Parts that run at the same time, and what becomes of the others when a required one fails. What one part is, is
//! `compose.rs`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{MaybeDone, maybe_done};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::section::Section;
use crate::error::{Error, GatewayError};

/// What a part comes to: a section, or, when the answer cannot do without it, a result.
pub trait Outcome {
    /// What the answer is made of.
    type Kept;
    /// Whether its failure is the answer's.
    const REQUIRED: bool;

    fn failure(&self) -> Option<&Error>;

    /// # Errors
    /// The failure of a required part.
    fn keep(self) -> Result<Self::Kept, Error>;
}

impl<T> Outcome for Section<T> {
    type Kept = Self;
    const REQUIRED: bool = false;

    fn failure(&self) -> Option<&Error> {
        None
    }

    fn keep(self) -> Result<Self, Error> {
        Ok(self)
    }
}

impl<T> Outcome for Result<T, Error> {
    type Kept = T;
    const REQUIRED: bool = true;

    fn failure(&self) -> Option<&Error> {
        self.as_ref().err()
    }

    fn keep(self) -> Self {
        self
    }
}

/// A tuple of parts.
pub trait Parts {
    /// The tuple of what they come to.
    type Kept;

    /// Runs them at the same time; `patience` is how long required parts may still speak after one of them has failed.
    ///
    /// # Errors
    /// The most telling failure of a required part.
    fn run(self, patience: Duration) -> impl Future<Output = Result<Self::Kept, Error>> + Send;
}

/// How much a failure says. That the request cannot be served as it is, is true whatever services do; an upstream's
/// failure says the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Upstream,
    Gateway,
    Request,
}

impl Weight {
    fn of(error: &Error) -> Self {
        match error {
            Error::Client(_) => Self::Request,
            Error::Gateway(_) => Self::Gateway,
            Error::Upstream(_) => Self::Upstream,
        }
    }
}

/// How far the parts are.
struct Progress {
    patience: Duration,
    /// Runs from the first failure on.
    running_out: Option<Pin<Box<Sleep>>>,
    heaviest: Option<Weight>,
    open: usize,
    open_required: usize,
}

impl Progress {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            running_out: None,
            heaviest: None,
            open: 0,
            open_required: 0,
        }
    }

    fn begin(&mut self) {
        self.open = 0;
        self.open_required = 0;
    }

    /// Takes one part further. Once a required part has failed, nobody needs the optional ones: they are dropped.
    fn step<F>(&mut self, mut part: Pin<&mut MaybeDone<F>>, cx: &mut Context<'_>)
    where
        F: Future,
        F::Output: Outcome,
    {
        let required = F::Output::REQUIRED;
        if self.heaviest.is_some() && !required {
            part.set(MaybeDone::Gone);
        }
        if matches!(*part, MaybeDone::Gone) {
            return;
        }
        if part.as_mut().poll(cx).is_pending() {
            self.open += 1;
            self.open_required += usize::from(required);
        } else if let Some(error) = part.output_mut().and_then(|outcome| outcome.failure()) {
            self.heaviest = self.heaviest.max(Some(Weight::of(error)));
        }
    }

    /// Whether it is settled what the answer is.
    fn settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.heaviest {
            None if self.open > 0 => Poll::Pending,
            None | Some(Weight::Request) => Poll::Ready(()),
            Some(_) if self.open_required == 0 => Poll::Ready(()),
            Some(_) => self
                .running_out
                .get_or_insert_with(|| Box::pin(sleep(self.patience)))
                .as_mut()
                .poll(cx),
        }
    }
}

/// What a part came to. A failure is put into `failure` when it is heavier than the one that is there.
fn keep<F>(
    part: Pin<&mut MaybeDone<F>>,
    failure: &mut Option<Error>,
) -> Option<<F::Output as Outcome>::Kept>
where
    F: Future,
    F::Output: Outcome,
{
    let error = match part.take_output()?.keep() {
        Ok(kept) => return Some(kept),
        Err(error) => error,
    };
    let lighter = |known: &Error| Weight::of(known) < Weight::of(&error);
    if failure.as_ref().is_none_or(lighter) {
        *failure = Some(error);
    }
    None
}

macro_rules! parts {
    ($all:ident $($part:ident: $Part:ident)+) => {
        pin_project! {
            /// Parts under way. A struct and no `async fn`, which would keep room for every part three times over.
            struct $all<$($Part: Future),+> {
                $(#[pin] $part: MaybeDone<$Part>,)+
                progress: Progress,
            }
        }

        impl<$($Part),+> Future for $all<$($Part),+>
        where
            $($Part: Future, $Part::Output: Outcome,)+
        {
            type Output = Result<($(<$Part::Output as Outcome>::Kept,)+), Error>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let mut parts = self.project();
                let progress = parts.progress;
                let failed_before = progress.heaviest.is_some();
                progress.begin();
                $(progress.step(parts.$part.as_mut(), cx);)+
                if progress.heaviest.is_some() && !failed_before {
                    // Once more, for the optional parts in front of the one that failed.
                    progress.begin();
                    $(progress.step(parts.$part.as_mut(), cx);)+
                }
                ready!(progress.settled(cx));
                let mut failure = None;
                let kept = ($(keep(parts.$part, &mut failure),)+);
                Poll::Ready(match (failure, kept) {
                    (Some(failure), _) => Err(failure),
                    (None, ($(Some($part),)+)) => Ok(($($part,)+)),
                    (None, _) => Err(GatewayError::Bug("a part is still open".to_owned()).into()),
                })
            }
        }

        impl<$($Part),+> Parts for ($($Part,)+)
        where
            $($Part: Future + Send, $Part::Output: Outcome + Send,)+
        {
            type Kept = ($(<$Part::Output as Outcome>::Kept,)+);

            fn run(self, patience: Duration) -> impl Future<Output = Result<Self::Kept, Error>> + Send {
                let ($($part,)+) = self;
                $all {
                    $($part: maybe_done($part),)+
                    progress: Progress::new(patience),
                }
            }
        }
    };
}

parts!(All1 a: A);
parts!(All2 a: A b: B);
parts!(All3 a: A b: B c: C);
parts!(All4 a: A b: B c: C d: D);
parts!(All5 a: A b: B c: C d: D e: E);
parts!(All6 a: A b: B c: C d: D e: E f: F);
parts!(All7 a: A b: B c: C d: D e: E f: F g: G);
parts!(All8 a: A b: B c: C d: D e: E f: F g: G h: H);
