package main

import (
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// drawn is an API whose requests are drawn at random.
type drawn struct {
	key      int16
	from, to int16
	floor    int16 // below which it is something else in older releases too
	often    int
	change   bool // the cluster's metadata; what follows waits until brokers know
	write    bool // changes something, and is asked once
	fix      func(*rand.Rand, kmsg.Request, *side)
	after    func(*side, kmsg.Request, kmsg.Response)
}

var drawns = []drawn{
	{key: 0, from: 3, to: 13, often: 20, write: true, fix: produce},
	{key: 1, from: 4, to: 18, often: 20, fix: fetch},
	{key: 1, from: 7, to: 18, floor: 7, often: 20, write: true, fix: incrementalFetch, after: afterIncrementalFetch},
	{key: 2, from: 1, to: 10, often: 20, fix: listOffsets},
	{key: 3, from: 0, to: 13, often: 15, fix: metadata},
	{key: 23, from: 2, to: 4, often: 10},
	{key: 21, from: 0, to: 2, often: 4, write: true},
	{key: 17, from: 0, to: 1, often: 1},
	{key: 36, from: 0, to: 2, often: 1},
	{key: 18, from: 0, to: 6, often: 4},
	{key: 27, from: 1, to: 1, often: 3, write: true},
	{key: 35, from: 1, to: 4, often: 3},
	{key: 43, from: 0, to: 2, often: 3, write: true},
	{key: 45, from: 0, to: 1, often: 3, change: true, fix: reassign},
	{key: 51, from: 0, to: 0, often: 3, change: true, fix: credentials},
	{key: 55, from: 0, to: 2, often: 3},
	{key: 57, from: 0, to: 2, often: 3, change: true},
	{key: 74, from: 0, to: 1, often: 3},
	{key: 33, from: 0, to: 2, often: 2, change: true, fix: alterOtherConfigs},
	{key: 44, from: 0, to: 1, often: 4, change: true, fix: alterOtherConfigsBy},
	{key: 32, from: 1, to: 4, often: 6, fix: describeOtherConfigs},
	{key: 19, from: 2, to: 7, often: 5, change: true, fix: createTopics},
	{key: 20, from: 1, to: 6, often: 3, change: true, fix: deleteTopics},
	{key: 37, from: 0, to: 3, often: 3, change: true},
	{key: 29, from: 1, to: 3, often: 1},
	{key: 30, from: 1, to: 3, often: 1},
	{key: 31, from: 1, to: 3, often: 1},
	{key: 32, from: 1, to: 4, often: 10, fix: describeConfigs},
	{key: 33, from: 0, to: 2, often: 2, change: true},
	{key: 44, from: 0, to: 1, often: 4, change: true},
	{key: 46, from: 0, to: 0, often: 2},
	{key: 48, from: 0, to: 1, often: 3},
	{key: 49, from: 0, to: 1, often: 3, change: true},
	{key: 50, from: 0, to: 0, often: 2},
	{key: 60, from: 0, to: 2, often: 2, fix: func(_ *rand.Rand, req kmsg.Request, _ *side) { req.(*kmsg.DescribeClusterRequest).EndpointType = 1 }},
	{key: 61, from: 0, to: 0, often: 4},
	{key: 75, from: 0, to: 0, often: 5},
	{key: 38, from: 1, to: 3, often: 1},
	{key: 39, from: 1, to: 2, often: 1},
	{key: 40, from: 1, to: 2, often: 1},
	{key: 41, from: 1, to: 3, often: 1},
	{key: 22, from: 0, to: 5, often: 1, write: true, fix: func(_ *rand.Rand, req kmsg.Request, _ *side) {
		r := req.(*kmsg.InitProducerIDRequest)
		r.TransactionalID, r.ProducerID, r.ProducerEpoch = nil, -1, -1
	}},
	{key: 10, from: 0, to: 6, often: 4},
	{key: 9, from: 1, to: 9, often: 6},
	{key: 8, from: 2, to: 9, often: 6, write: true},
	{key: 15, from: 0, to: 6, often: 4},
	{key: 12, from: 0, to: 4, often: 3},
	{key: 13, from: 0, to: 5, often: 3},
	{key: 69, from: 0, to: 1, often: 2},
	{key: 65, from: 0, to: 0, often: 2},
}

// dataTopics are those whose records are the same in both: the internal ones are not.
var dataTopics = []any{"t", "t", "u", "u", "nope", "bad name", "", "n1"}

// adminTopics are those that administrators ask for.
var adminTopics = []any{"t", "u", "t", "u", "nope", "n1", "bad name", ""}

var scramUsers = []any{"alice", "bob", "alice", "bob", "nobody", ""}

// pools are values of fields, by name, with the request's name before it where they are of one request only.
var pools = map[string][]any{
	"Topic": {"t", "t", "u", "u", "nope", "bad name", "", "__consumer_offsets", "n1"}, "Topics": {"t", "u", "nope", "bad name", ""},
	"Partition": {0, 0, 1, 2, 3, -1}, "Partitions": {0, 1, 2, 3, -1},
	"TopicID":            {"t", "u", "t", "u", "unknown", "none"},
	"CurrentLeaderEpoch": {-1, -1, -1, 0, 1}, "LeaderEpoch": {-1, 0, 1, 7}, "ReplicaID": {-1},
	"Timestamp": {-1, -2, -3, -4, -5, -6, -7, 0, 1, 1000000000000, 1000000000005, 4000000000000}, "IsolationLevel": {0, 1},
	"MaxTimestamp": {0}, "TimeoutMillis": {60000}, "TimeoutMs": {60000}, "Offset": {-1, 0, 1, 3, 1000000, -2}, "Metadata": {nil, "", "some"},
	"Group": {"g1", "g1", "g2", "none", ""}, "Groups": {"g1", "g2", "none", ""}, "MemberID": {"", "", "m"}, "MemberEpoch": {-1, -1, 0, 1}, "Generation": {-1, -1, 0, 1},
	"InstanceID": {nil, nil, "i"}, "CoordinatorType": {0, 0, 1}, "CoordinatorKey": {"x", ""}, "CoordinatorKeys": {"x", "y", ""},
	"RetentionTimeMillis": {-1}, "CommitTimestamp": {-1}, "TransactionalIDs": {"none", ""}, "TransactionalID": {"none"},
	"Mechanism":          {"PLAIN", "SCRAM-SHA-256", ""},
	"CreateTopics.Topic": {"n1", "n2", "n3", "t", "bad name", "", ".", "n_4", "n.5"}, "NumPartitions": {-1, 0, 1, 2, -2}, "ReplicationFactor": {-1, 1, 1, 0, 2, -2},
	"Replicas":            {1, 1, 1, 2, -1},
	"DeleteTopics.Topics": {"n1", "n2", "n3", "nope", "bad name"}, "TopicNames": {"n1", "n2", "n3", "nope", "bad name"},
	"CreatePartitions.Topic": {"n1", "n2", "n3", "nope"}, "Count": {0, 1, 2, 3, 4, -1},
	"ResourceType":                         {2},
	"ACLs.ResourceType":                    {2, 3},
	"ResourceName":                         {"t", "u", "nope", "n1", "1", ""},
	"AlterConfigs.ResourceName":            {"c"},
	"AlterConfigs.ResourceType":            {2},
	"IncrementalAlterConfigs.ResourceType": {2}, "IncrementalAlterConfigs.ResourceName": {"c"},
	"Name":  {"retention.ms", "cleanup.policy", "max.message.bytes", "segment.bytes", "min.insync.replicas", "compression.type", "bogus", ""},
	"Value": {"1", "1000", "100000000", "-1", "compact", "compact,delete", "delete", "gzip", "x", "", nil}, "Op": {0, 0, 1, 2, 3},
	"Type": {"user", "client-id", "ip", "bogus"}, "EntityType": {"user", "client-id", "ip", "bogus"}, "MaxNumOffsets": {1, 2, 3, 10}, "MatchType": {0, 1, 2}, "Match": {"alice", nil},
	"EntityName": {"alice", "app", "127.0.0.9", nil}, "Key": {"producer_byte_rate", "consumer_byte_rate", "request_percentage", "bogus"},
	"User": {"alice", "nobody", ""}, "ResponsePartitionLimit": {2000, 1, 2, 0, -1}, "ConfigNames": {"retention.ms", "cleanup.policy", "num.network.threads", "bogus"},
	"ResourcePatternType": {3, 1, 4}, "Operation": {3, 4, 2}, "PermissionType": {3, 2}, "Principal": {"User:a"}, "Host": {"*"}, "PrincipalType": {"User"}, "PrincipalName": {"a"},
	"DescribeTopicPartitions.Topic": {"t", "u", "nope", "n1", "bad name"}, "Fetch.Topic": dataTopics, "ListOffsets.Topic": dataTopics, "OffsetForLeaderEpoch.Topic": dataTopics, "DescribeProducers.Topic": dataTopics,
	"DeleteRecords.Topic": {"u", "u", "nope", "bad name", "", "n1"},
	"Fetch.MaxBytes":      {1 << 20}, "AlterClientQuotas.Name": {"alice", "app", "127.0.0.9"}, "Fetch.TopicID": {"t", "u", "t", "u", "unknown"}, "RackID": {""}, "MaxWaitMillis": {0}, "MinBytes": {0, 1}, "MaxBytes": {1 << 20, 1 << 20, 100, 1, 0}, "PartitionMaxBytes": {1 << 20, 1 << 20, 100, 1, 0},
	"FetchOffset": {0, 0, 1, 2, 5, -1, 1000000}, "LastFetchedEpoch": {-1, -1, 0}, "LogStartOffset": {-1}, "SessionID": {0}, "SessionEpoch": {-1, -1, -1, 0},
	"ClientSoftwareName": {"differential", "a.b-c", "", "-a"}, "ClientSoftwareVersion": {"1", "1.0", ""},
	"ElectLeaders.Topic": adminTopics, "AlterPartitionAssignments.Topic": adminTopics, "ListPartitionReassignments.Topic": adminTopics, "DescribeLogDirs.Topic": adminTopics, "WriteTxnMarkers.Topic": adminTopics,
	"ElectionType": {0, 0, 1, 2}, "ElectLeaders.TimeoutMillis": {60000, 60000, 60000, 0}, "DescribeQuorum.Topic": {"__cluster_metadata", "__cluster_metadata", "t", ""}, "DescribeQuorum.Partition": {0, 0, 1},
	"Feature": {"group.version", "transaction.version", "metadata.version", "kraft.version", "share.version", "eligible.leader.replicas.version", "bogus", ""}, "MaxVersionLevel": {0, 1, 2, 3, 7, 26, 27, 28, -1}, "UpgradeType": {0, 1, 1, 2, 3, 4},
	"ResourceTypes": {2, 4, 8, 16, 32, 99}, "CoordinatorEpoch": {0, 0, 1, 5, -1}, "WriteTxnMarkers.ProducerID": {1000000, 1000001, -1}, "ProducerEpoch": {0, 0, 1, 2, -1},
	"AlterUserSCRAMCredentials.Name": scramUsers, "DescribeUserSCRAMCredentials.Name": scramUsers, "AlterUserSCRAMCredentials.Mechanism": {1, 1, 2, 2, 0, 3}, "Iterations": {4096, 4096, 8192, 16384, 16385, 4095, -1},
	"Reason": {nil, "why"}, "MaxLifetimeMillis": {-1}, "RenewTimeMillis": {1000}, "ExpiryPeriodMillis": {1000},
}

func init() {
	for _, name := range []string{"CreateACLs", "DeleteACLs", "DescribeACLs"} {
		pools[name+".ResourceType"] = pools["ACLs.ResourceType"]
	}
	delete(pools, "ACLs.ResourceType")
}
