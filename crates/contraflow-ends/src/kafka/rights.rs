//! What a change may do in a cluster that looks at rights, and whether there can be transactions.
//!
//! Nothing is written: rights are asked for, a topic is made on trial only, and a transaction is
//! taken back before it holds a record.

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Problem, Result};
use contraflow_core::preflight::Preflight;
use contraflow_core::side::{Direction, Side};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::broker::{Broker, Topic};
use super::client::{self, code_of, failure};
use super::commits::Commits;
use super::control;
use super::names::Names;
use super::native::{self, Right};
use super::place::TopicPlace;
use super::producer::{Producer, TRANSACTION_MAX_MS};
use super::shares;
use super::structure::CONTROL;

/// How `kafka-acls.sh` is told that a name is a beginning.
const PREFIXED: &str = "--resource-pattern-type prefixed";

/// Somebody whose rights are looked at.
pub(super) struct Client<'c> {
    pub(super) broker: &'c Broker,
    pub(super) names: &'c Names,
}

impl Client<'_> {
    /// The command that gives rights.
    fn grant(&self, operations: &[&str], resource: &str) -> String {
        let user = match &self.broker.cluster.login {
            Some(login) => login.user.to_string(),
            None if self.broker.cluster.identity.is_some() => {
                "<subject of the certificate>".to_owned()
            }
            None => "ANONYMOUS".to_owned(),
        };
        let operations: String = operations
            .iter()
            .map(|it| format!(" --operation {it}"))
            .collect();
        format!("`kafka-acls.sh --add --allow-principal User:{user}{operations} {resource}`")
    }

    /// What the rights on a topic of a side lack.
    pub(super) fn topic(&self, all: &mut Preflight, topic: &Topic, side: Side) -> Result<()> {
        let name = &topic.name;
        let mut wanted = vec![Right::Read, Right::Write, Right::DescribeConfigs];
        if side == Side::Old {
            // By contract.
            wanted.push(Right::Delete);
        }
        let found = native::rights(self.broker.consumer()?.client(), name)?;
        wanted.retain(|right| !found.contains(right));
        let problem = (!wanted.is_empty()).then(|| {
            let lacking: Vec<String> = wanted.iter().map(|right| format!("{right:?}")).collect();
            let names: Vec<&str> = lacking.iter().map(String::as_str).collect();
            let message = format!("topic `{name}` is not ours to {}", lacking.join(", "));
            self.lacks(message, &names, &format!("--topic {name}"))
        });
        all.note(format!("rights on topic `{name}`"), problem);
        Ok(())
    }

    /// What keeps a change from beginning, besides its topics.
    pub(super) fn beginning(
        &self,
        all: &mut Preflight,
        topics: &[Topic],
        commits: &Commits,
    ) -> Result<()> {
        let control = &self.names.control;
        let replicas = topics.iter().map(|topic| topic.replicas).max().unwrap_or(1);
        let size = (control::partitions(), replicas);
        let refused = self.broker.creatable(control, size, &CONTROL)?;
        all.note(
            format!("control topic `{control}` can be made"),
            refused.and_then(|code| self.not_made(code)),
        );
        let prefix = self.names.prefix();
        let anybody = format!("any-group-but-{prefix}");
        let own = self.names.group(Direction::Forward);
        let groups = [
            (
                own.as_str(),
                &["Read", "Delete"][..],
                format!("--group {prefix} {PREFIXED}"),
            ),
            (anybody.as_str(), &["Describe"], "--group '*'".to_owned()),
        ];
        for (group, operations, resource) in groups {
            let problem = match commits.of(group) {
                Ok(_) => None,
                Err(error) if error.code == Code::RIGHTS_MISSING => {
                    let message = format!("consumer groups are not ours to see: {resource}");
                    Some(self.lacks(message, operations, &resource))
                }
                Err(error) => return Err(error),
            };
            all.note(format!("rights on groups: {resource}"), problem);
        }
        let seen = [
            (shares::STATE, "share groups", &["Read"][..]),
            (
                self.names.letters.as_str(),
                "letters",
                &["Create", "Read", "Write", "Delete"],
            ),
        ];
        for (topic, what, operations) in seen {
            let problem = match self.broker.topic(topic) {
                Ok(_) => None,
                Err(error) if error.code == Code::RIGHTS_MISSING => {
                    let message = format!("{what} are not ours to see: topic `{topic}`");
                    Some(self.lacks(message, operations, &format!("--topic {topic}")))
                }
                Err(error) => return Err(error),
            };
            all.note(format!("rights to see {what}"), problem);
        }
        if let Some(topic) = topics.first() {
            let tried = self.tried(topic)?;
            all.note(
                "a transaction can be begun",
                tried.and_then(|code| self.no_transaction(code)),
            );
        }
        Ok(())
    }

    /// Why there can be no transaction, if there can be none.
    fn tried(&self, topic: &Topic) -> Result<Option<RDKafkaErrorCode>> {
        let group =
            client::consumer(&self.broker.cluster, &self.names.group(Direction::Forward)).create();
        let group: BaseConsumer = group.map_err(|error| failure("making a client", error))?;
        let place = TopicPlace {
            topic: topic.name.clone(),
            id: topic.id,
            next: vec![0],
        };
        let offsets = client::offsets(&[place], None)?;
        match Producer::tried(&self.broker.cluster, &self.names.trial(), &group, &offsets) {
            Ok(()) => Ok(None),
            Err(error) => match code_of(&error) {
                Some(code) => Ok(Some(code)),
                None => Err(failure("trying a transaction", error)),
            },
        }
    }

    fn not_made(&self, code: RDKafkaErrorCode) -> Option<Problem> {
        use RDKafkaErrorCode as C;
        let control = &self.names.control;
        match code {
            C::TopicAlreadyExists => None,
            C::TopicAuthorizationFailed | C::ClusterAuthorizationFailed => {
                let message = format!("topic `{control}` is not ours to make");
                let operations = ["Create", "Read", "Write", "Delete"];
                Some(self.lacks(message, &operations, &format!("--topic {control}")))
            }
            code => {
                let message = format!("topic `{control}` cannot be made: {code}");
                let hint = "It gets as many replicas as the topics of the change.";
                Some(Problem::error(Code::END_SETTING, message).hint(hint))
            }
        }
    }

    fn no_transaction(&self, code: RDKafkaErrorCode) -> Option<Problem> {
        use RDKafkaErrorCode as C;
        let prefix = self.names.prefix();
        match code {
            // Said where rights on topics are looked at.
            C::TopicAuthorizationFailed => None,
            // Somebody else who tries it at this moment can.
            C::ProducerFenced | C::Fenced | C::InvalidProducerEpoch => None,
            C::TransactionalIdAuthorizationFailed => {
                let message = format!("transactional ids `{prefix}*` are not ours to take");
                let resource = format!("--transactional-id {prefix} {PREFIXED}");
                Some(self.lacks(message, &["Write"], &resource))
            }
            C::GroupAuthorizationFailed => {
                let message = format!("groups `{prefix}*` are not ours to commit");
                let resource = format!("--group {prefix} {PREFIXED}");
                Some(self.lacks(message, &["Read", "Delete"], &resource))
            }
            C::InvalidTransactionTimeout => {
                let message = format!(
                    "`transaction.max.timeout.ms` of the brokers is less than {TRANSACTION_MAX_MS}"
                );
                let hint = "Raise it in the brokers' settings and start them again.";
                Some(Problem::error(Code::END_SETTING, message).hint(hint))
            }
            code => {
                let message = format!("the brokers begin no transaction: {code}");
                let hint = "Their `transaction.state.log.replication.factor` and \
                            `transaction.state.log.min.isr` must not exceed the brokers there are.";
                Some(Problem::error(Code::END_SETTING, message).hint(hint))
            }
        }
    }

    fn lacks(&self, message: String, operations: &[&str], resource: &str) -> Problem {
        Problem::error(Code::RIGHTS_MISSING, message).hint(self.grant(operations, resource))
    }

    /// Says with an error about a topic that cannot be seen which rights it takes.
    pub(super) fn explained(&self, error: Error, topic: &str) -> Error {
        if error.code != Code::RIGHTS_MISSING {
            return error;
        }
        let operations = ["Read", "Write", "DescribeConfigs"];
        error.hint(self.grant(&operations, &format!("--topic {topic}")))
    }
}
