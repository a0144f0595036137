package control

import "fmt"

// Code is an error code of Apache Kafka's protocol, as the controller gives it; negative ones are the cluster's own.
type Code int16

// The codes that a controller answers with, under Kafka's names.
const (
	OK                          Code = 0
	UnknownTopicOrPartition     Code = 3
	UnsupportedVersion          Code = 35 // the command needs a higher feature level, or a node does not know the cluster's
	TopicAlreadyExists          Code = 36
	InvalidPartitions           Code = 37
	InvalidReplicationFactor    Code = 38
	InvalidReplicaAssignment    Code = 39
	InvalidConfig               Code = 40
	NotController               Code = 41
	InvalidRequest              Code = 42
	ReassignmentInProgress      Code = 60
	FencedLeaderEpoch           Code = 74
	StaleBrokerEpoch            Code = 77
	PreferredLeaderNotAvailable Code = 80
	EligibleLeadersNotAvailable Code = 83
	ElectionNotNeeded           Code = 84
	NoReassignmentInProgress    Code = 85
	InvalidUpdateVersion        Code = 95
	UnknownTopicID              Code = 100
	DuplicateBrokerRegistration Code = 101
	BrokerIDNotRegistered       Code = 102
	InconsistentTopicID         Code = 103
	IneligibleReplica           Code = 107
	NewLeaderElected            Code = 108

	// Conflict means that the catalogue has changed since the proposer looked: it looks again.
	Conflict Code = -2
)

var codeNames = map[Code]string{
	OK: "NONE", UnknownTopicOrPartition: "UNKNOWN_TOPIC_OR_PARTITION", UnsupportedVersion: "UNSUPPORTED_VERSION",
	TopicAlreadyExists: "TOPIC_ALREADY_EXISTS", InvalidPartitions: "INVALID_PARTITIONS", InvalidReplicationFactor: "INVALID_REPLICATION_FACTOR",
	InvalidReplicaAssignment: "INVALID_REPLICA_ASSIGNMENT", InvalidConfig: "INVALID_CONFIG", NotController: "NOT_CONTROLLER", InvalidRequest: "INVALID_REQUEST",
	ReassignmentInProgress: "REASSIGNMENT_IN_PROGRESS", FencedLeaderEpoch: "FENCED_LEADER_EPOCH", StaleBrokerEpoch: "STALE_BROKER_EPOCH",
	PreferredLeaderNotAvailable: "PREFERRED_LEADER_NOT_AVAILABLE", EligibleLeadersNotAvailable: "ELIGIBLE_LEADERS_NOT_AVAILABLE",
	ElectionNotNeeded: "ELECTION_NOT_NEEDED", NoReassignmentInProgress: "NO_REASSIGNMENT_IN_PROGRESS", InvalidUpdateVersion: "INVALID_UPDATE_VERSION",
	UnknownTopicID: "UNKNOWN_TOPIC_ID", DuplicateBrokerRegistration: "DUPLICATE_BROKER_REGISTRATION", BrokerIDNotRegistered: "BROKER_ID_NOT_REGISTERED",
	InconsistentTopicID: "INCONSISTENT_TOPIC_ID", IneligibleReplica: "INELIGIBLE_REPLICA", NewLeaderElected: "NEW_LEADER_ELECTED", Conflict: "CONFLICT",
}

// String returns Kafka's name.
func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return fmt.Sprintf("CODE(%d)", int16(c))
}
