package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

func init() {
	for key, a := range map[int16]api{
		19:                           {name: "CreateTopics", Range: Range{2, 7}, handle: handleCreateTopics},
		20:                           {name: "DeleteTopics", Range: Range{1, 6}, handle: handleDeleteTopics},
		32:                           {name: "DescribeConfigs", Range: Range{1, 4}, handle: handleDescribeConfigs},
		33:                           {name: "AlterConfigs", Range: Range{0, 2}, handle: handleAlterConfigs},
		35:                           {name: "DescribeLogDirs", Range: Range{1, 4}, handle: handleDescribeLogDirs},
		37:                           {name: "CreatePartitions", Range: Range{0, 3}, handle: handleCreatePartitions},
		38:                           {name: "CreateDelegationToken", Range: Range{1, 3}, handle: handleCreateDelegationToken},
		39:                           {name: "RenewDelegationToken", Range: Range{1, 2}, handle: handleRenewDelegationToken},
		40:                           {name: "ExpireDelegationToken", Range: Range{1, 2}, handle: handleExpireDelegationToken},
		41:                           {name: "DescribeDelegationToken", Range: Range{1, 3}, handle: handleDescribeDelegationToken},
		43:                           {name: "ElectLeaders", Range: Range{0, 2}, handle: handleElectLeaders},
		44:                           {name: "IncrementalAlterConfigs", Range: Range{0, 1}, handle: handleIncrementalAlterConfigs},
		45:                           {name: "AlterPartitionReassignments", Range: Range{0, 1}, handle: handleAlterPartitionReassignments},
		46:                           {name: "ListPartitionReassignments", Range: Range{0, 0}, handle: handleListPartitionReassignments},
		55:                           {name: "DescribeQuorum", Range: Range{0, 2}, handle: handleDescribeQuorum},
		57:                           {name: "UpdateFeatures", Range: Range{0, 2}, handle: handleUpdateFeatures},
		keyGetTelemetrySubscriptions: {name: "GetTelemetrySubscriptions", Range: Range{0, 0}, handle: handleGetTelemetrySubscriptions},
		keyPushTelemetry:             {name: "PushTelemetry", Range: Range{0, 0}, handle: handlePushTelemetry},
		74:                           {name: "ListConfigResources", Range: Range{0, 1}, handle: handleListConfigResources},
		75:                           {name: "DescribeTopicPartitions", Range: Range{0, 0}, handle: handleDescribeTopicPartitions},
	} {
		apis[key] = &a
	}
}

// standardTexts are what an Apache Kafka broker says beside a code when it has nothing to add.
var standardTexts = map[int16]string{
	codeUnknownTopicOrPartition:    "This server does not host this topic-partition.",
	codeUnknownTopicID:             "This server does not host this topic ID.",
	codeTopicAuthorizationFailed:   "Topic authorization failed.",
	codeGroupAuthorizationFailed:   "Group authorization failed.",
	codeClusterAuthorizationFailed: textClusterDenied,
	codeTopicDeletionDisabled:      "Topic deletion is disabled.",
	codeElectionNotNeeded:          "Leader election not needed for topic partition.",
	codeInvalidRequest: "This most likely occurs because of a request being malformed by the client library or the message was sent to an" +
		" incompatible broker. See the broker logs for more details.",
}

// refusal is an error with its code and a text of its own.
func refusal(code int16, text string) *protocolError { return &protocolError{code, text} }

// standard is an error with its code and Kafka's text for it.
func standard(code int16) *protocolError { return &protocolError{code, standardTexts[code]} }

// outcome returns what an answer says of err: the code, and the text or nil.
func (c *call) outcome(err error) (code int16, text *string) {
	if err == nil {
		return codeNone, nil
	}
	code, text = errorCode(err, c.key, c.version), kmsg.StringPtr(err.Error())
	if *text == "" {
		text = nil
	}
	return code, text
}
