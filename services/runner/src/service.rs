//! The closed list of FTGO's services: name, demo port, what each listens to, and how it is started.
//! Nothing here knows which of them run at the moment; that is `system`'s.

use std::fmt;
use std::str::FromStr;

use ftgo_chassis::{Environment, RunningService, StartError};
use ftgo_messaging::transport::Subscription;
use futures_util::future::BoxFuture;

/// One of FTGO's services. The development identity provider counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    Identity,
    Order,
    Kitchen,
    Delivery,
    Accounting,
    Consumer,
    Restaurant,
    OrderHistory,
}

/// A name that no service has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no service \"{name}\"; the services are {}", Service::ALL.map(Service::name).join(", "))]
pub struct UnknownService {
    pub name: String,
}

impl Service {
    /// In the order of their demo ports.
    pub const ALL: [Service; 8] = [
        Service::Identity,
        Service::Order,
        Service::Kitchen,
        Service::Delivery,
        Service::Accounting,
        Service::Consumer,
        Service::Restaurant,
        Service::OrderHistory,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Service::Identity => ftgo_identity::NAME,
            Service::Order => ftgo_order::NAME,
            Service::Kitchen => ftgo_kitchen::NAME,
            Service::Delivery => ftgo_delivery::NAME,
            Service::Accounting => ftgo_accounting::NAME,
            Service::Consumer => ftgo_consumer::NAME,
            Service::Restaurant => ftgo_restaurant::NAME,
            Service::OrderHistory => ftgo_order_history::NAME,
        }
    }

    /// The fixed port of the demo.
    pub const fn port(self) -> u16 {
        match self {
            Service::Identity => ftgo_identity::PORT,
            Service::Order => ftgo_order::PORT,
            Service::Kitchen => ftgo_kitchen::PORT,
            Service::Delivery => ftgo_delivery::PORT,
            Service::Accounting => ftgo_accounting::PORT,
            Service::Consumer => ftgo_consumer::PORT,
            Service::Restaurant => ftgo_restaurant::PORT,
            Service::OrderHistory => ftgo_order_history::PORT,
        }
    }

    /// The topics whose messages count as delivered only when this service has committed them.
    /// Identity takes no part in messaging.
    pub fn subscription(self) -> Option<Subscription> {
        match self {
            Service::Identity => None,
            Service::Order => Some(ftgo_order::SUBSCRIPTION),
            Service::Kitchen => Some(ftgo_kitchen::SUBSCRIPTION),
            Service::Delivery => Some(ftgo_delivery::SUBSCRIPTION),
            Service::Accounting => Some(ftgo_accounting::SUBSCRIPTION),
            Service::Consumer => Some(ftgo_consumer::SUBSCRIPTION),
            Service::Restaurant => Some(ftgo_restaurant::SUBSCRIPTION),
            Service::OrderHistory => Some(ftgo_order_history::SUBSCRIPTION),
        }
    }

    /// `identity` is for the identity provider alone.
    pub(crate) fn start(
        self,
        environment: Environment,
        identity: ftgo_identity::Settings,
    ) -> BoxFuture<'static, Result<RunningService, StartError>> {
        match self {
            Service::Identity => Box::pin(ftgo_identity::start_with(environment, identity)),
            Service::Order => Box::pin(ftgo_order::start(environment)),
            Service::Kitchen => Box::pin(ftgo_kitchen::start(environment)),
            Service::Delivery => Box::pin(ftgo_delivery::start(environment)),
            Service::Accounting => Box::pin(ftgo_accounting::start(environment)),
            Service::Consumer => Box::pin(ftgo_consumer::start(environment)),
            Service::Restaurant => Box::pin(ftgo_restaurant::start(environment)),
            Service::OrderHistory => Box::pin(ftgo_order_history::start(environment)),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Service::ALL
            .into_iter()
            .find(|service| service.name() == name)
            .ok_or_else(|| UnknownService {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{Service, UnknownService};

    #[test]
    fn a_name_finds_its_service_and_a_wrong_one_lists_them_all() {
        for service in Service::ALL {
            assert_eq!(service.name().parse(), Ok(service));
        }
        let unknown: UnknownService = "oven".parse::<Service>().expect_err("no such service");
        assert!(unknown.to_string().contains("order-history"), "{unknown}");
    }

    #[test]
    fn the_demo_ports_are_those_of_the_documentation() {
        let ports = Service::ALL.map(Service::port);
        assert_eq!(ports, [8100, 8101, 8102, 8103, 8104, 8105, 8106, 8107]);
    }

    #[test]
    fn a_service_subscribes_under_its_own_name() {
        for service in Service::ALL {
            if let Some(subscription) = service.subscription() {
                assert_eq!(subscription.subscriber, service.name());
            }
        }
    }
}
