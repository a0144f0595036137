package kafkatest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
)

// habit is something that a release did otherwise than Kafka 4.1: before changes the request, after the answer.
type habit struct {
	keys   []int16 // of APIs
	before func(c *Cluster, call *kafka.Call)
	after  func(c *Cluster, call *kafka.Call, resp kmsg.Response)
}

const (
	keyFetch                   int16 = 1
	keyListOffsets             int16 = 2
	keyOffsetCommit            int16 = 8
	keyOffsetFetch             int16 = 9
	keyFindCoordinator         int16 = 10
	keyDescribeGroups          int16 = 15
	keyListGroups              int16 = 16
	keyCreateTopics            int16 = 19
	keyDeleteTopics            int16 = 20
	keyTxnOffsetCommit         int16 = 28
	keyDescribeConfigs         int16 = 32
	keyAlterConfigs            int16 = 33
	keyElectLeaders            int16 = 43
	keyIncrementalAlterConfigs int16 = 44
	keyDescribeClientQuotas    int16 = 48
	keyUpdateFeatures          int16 = 57
	keyDescribeProducers       int16 = 61

	codeUnknownServerError       int16 = -1
	codeUnknownTopicOrPartition  int16 = 3
	codeCoordinatorNotAvailable  int16 = 15
	codeInvalidTopic             int16 = 17
	codeIllegalGeneration        int16 = 22
	codeUnknownMemberID          int16 = 25
	codeUnsupportedVersion       int16 = 35
	codeInvalidPartitions        int16 = 37
	codeInvalidReplicationFactor int16 = 38
	codeInvalidAssignment        int16 = 39
	codeInvalidConfig            int16 = 40
	codeInvalidRequest           int16 = 42
	codeGroupIDNotFound          int16 = 69
	codeInvalidUpdateVersion     int16 = 95
)

// after is a habit of answers.
func after[Q kmsg.Request, R kmsg.Response](key int16, change func(c *Cluster, req Q, resp R)) habit {
	return habit{keys: []int16{key}, after: func(c *Cluster, call *kafka.Call, resp kmsg.Response) { change(c, call.Request.(Q), resp.(R)) }}
}

// before is a habit of requests.
func before[Q kmsg.Request](key int16, change func(c *Cluster, req Q)) habit {
	return habit{keys: []int16{key}, before: func(c *Cluster, call *kafka.Call) { change(c, call.Request.(Q)) }}
}

// noAbortedListBesideErrors: beside an error the list of aborted transactions is null, not empty.
var noAbortedListBesideErrors = after(keyFetch, func(_ *Cluster, _ *kmsg.FetchRequest, resp *kmsg.FetchResponse) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode != 0 {
				p.AbortedTransactions = nil
			}
		}
	}
})

// anyTimestampIsATime: what became special timestamps later (KIP-734, KIP-405) is a time before all records.
var anyTimestampIsATime = before(keyListOffsets, func(_ *Cluster, req *kmsg.ListOffsetsRequest) {
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			if p := &req.Topics[i].Partitions[j]; p.Timestamp < -2 {
				p.Timestamp = 0
			}
		}
	}
})

// groupsHaveNoConfigs: there are no operations on them to be authorized.
var groupsHaveNoConfigs = after(keyDescribeGroups, func(_ *Cluster, _ *kmsg.DescribeGroupsRequest, resp *kmsg.DescribeGroupsResponse) {
	const configs = 1<<10 | 1<<11 // DESCRIBE_CONFIGS, ALTER_CONFIGS
	for i := range resp.Groups {
		if g := &resp.Groups[i]; g.AuthorizedOperations > 0 {
			g.AuthorizedOperations &^= configs
		}
	}
})

// statesAreSpelled: the states by which groups are selected, with their capitals.
var statesAreSpelled = after(keyListGroups, func(_ *Cluster, req *kmsg.ListGroupsRequest, resp *kmsg.ListGroupsResponse) {
	if len(req.StatesFilter) > 0 {
		resp.Groups = slices.DeleteFunc(resp.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return !slices.Contains(req.StatesFilter, g.GroupState) })
	}
})

// electionsTakeTheirTime: a timeout of 0 is not over before the election.
var electionsTakeTheirTime = before(keyElectLeaders, func(_ *Cluster, req *kmsg.ElectLeadersRequest) {
	req.TimeoutMillis = max(req.TimeoutMillis, 1)
})

// electedTopicsOnly: of an election of all, topics where nothing was elected are not told.
var electedTopicsOnly = after(keyElectLeaders, func(_ *Cluster, req *kmsg.ElectLeadersRequest, resp *kmsg.ElectLeadersResponse) {
	if req.Topics == nil {
		resp.Topics = slices.DeleteFunc(resp.Topics, func(t kmsg.ElectLeadersResponseTopic) bool { return len(t.Partitions) == 0 })
	}
})

// electionsOfNoKind: a kind of election that there is not is a failure of the broker.
var electionsOfNoKind = after(keyElectLeaders, func(_ *Cluster, req *kmsg.ElectLeadersRequest, resp *kmsg.ElectLeadersResponse) {
	if req.ElectionType == 0 || req.ElectionType == 1 {
		return
	}
	resp.ErrorCode = codeUnknownServerError
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[j]
			p.ErrorCode, p.ErrorMessage = codeUnknownServerError, nil
		}
	}
})

// matchesAreForNames: a filter of client quotas that is not for a name (KIP-546) may have one.
var matchesAreForNames = before(keyDescribeClientQuotas, func(_ *Cluster, req *kmsg.DescribeClientQuotasRequest) {
	for i := range req.Components {
		if c := &req.Components[i]; c.MatchType != kmsg.QuotasMatchTypeExact {
			c.Match = nil
		}
	}
})

// featuresOfRelease: no other feature has a level that may be changed.
var featuresOfRelease = habit{keys: []int16{keyUpdateFeatures},
	before: func(c *Cluster, call *kafka.Call) {
		req := call.Request.(*kmsg.UpdateFeaturesRequest)
		for i := range req.FeatureUpdates {
			u := &req.FeatureUpdates[i]
			if !slices.ContainsFunc(c.config.persona.versions().features, func(f personaFeature) bool { return f.name == u.Feature }) {
				u.Feature += notOfRelease
			}
		}
	},
	after: func(_ *Cluster, _ *kafka.Call, r kmsg.Response) {
		resp := r.(*kmsg.UpdateFeaturesResponse)
		if resp.ErrorMessage != nil {
			*resp.ErrorMessage = strings.ReplaceAll(*resp.ErrorMessage, notOfRelease, "")
		}
		for i := range resp.Results {
			resp.Results[i].Feature = strings.TrimSuffix(resp.Results[i].Feature, notOfRelease)
		}
	},
}

// badNamesAreUnknown: a topic that no name may be called is not there.
var badNamesAreUnknown = after(keyDescribeProducers, func(_ *Cluster, _ *kmsg.DescribeProducersRequest, resp *kmsg.DescribeProducersResponse) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeInvalidTopic {
				p.ErrorCode, p.ErrorMessage = codeUnknownTopicOrPartition, nil
			}
		}
	}
})

// featuresFailOneByOne: an update of features that fails says so of each.
func featuresFailOneByOne(code int16) habit {
	return after(keyUpdateFeatures, func(_ *Cluster, req *kmsg.UpdateFeaturesRequest, resp *kmsg.UpdateFeaturesResponse) {
		if resp.ErrorCode != codeInvalidUpdateVersion {
			return
		}
		for _, u := range req.FeatureUpdates {
			r := kmsg.NewUpdateFeaturesResponseResult()
			r.Feature, r.ErrorCode, r.ErrorMessage = u.Feature, code, resp.ErrorMessage
			resp.Results = append(resp.Results, r)
		}
		resp.ErrorCode, resp.ErrorMessage = 0, nil
	})
}

// strangersHaveNoTransactions: TxnOffsetCommit of somebody who is no member says so, whatever the generation.
var strangersHaveNoTransactions = habit{keys: []int16{keyTxnOffsetCommit}, after: func(c *Cluster, call *kafka.Call, r kmsg.Response) {
	req, resp := call.Request.(*kmsg.TxnOffsetCommitRequest), r.(*kmsg.TxnOffsetCommitResponse)
	known := false
	if at, err := c.coordinator(call.Context, req.Group); err == nil {
		d, _ := at.Describe(call.Context, req.Group)
		for _, m := range d.Members {
			known = known || m.MemberID == req.MemberID
		}
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeIllegalGeneration && !known {
				p.ErrorCode = codeUnknownMemberID
			}
		}
	}
}}

// newCommitsToNoGroup: OffsetCommit 9 of a member of a group that is not there has the wrong generation.
var newCommitsToNoGroup = after(keyOffsetCommit, func(_ *Cluster, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeGroupIDNotFound {
				p.ErrorCode = codeIllegalGeneration
			}
		}
	}
})

// shareGroupsAreNotThereYet: nor are their coordinators.
var shareGroupsAreNotThereYet = after(keyFindCoordinator, func(_ *Cluster, req *kmsg.FindCoordinatorRequest, resp *kmsg.FindCoordinatorResponse) {
	const share = 2
	for i := range resp.Coordinators {
		if c := &resp.Coordinators[i]; req.Version >= 6 && req.CoordinatorType == share && c.ErrorCode == codeInvalidRequest {
			c.ErrorCode = codeCoordinatorNotAvailable
		}
	}
})

// noOffsetsInZooKeeper: version 0 of OffsetCommit and OffsetFetch is advertised, and there is no ZooKeeper.
func noOffsetsInZooKeeper(key int16) habit {
	if key == keyOffsetCommit {
		return after(key, func(_ *Cluster, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) {
			refused := false // if only one of the partitions is there
			for _, t := range resp.Topics {
				refused = refused || slices.ContainsFunc(t.Partitions, func(p kmsg.OffsetCommitResponseTopicPartition) bool {
					return p.ErrorCode != codeUnknownTopicOrPartition
				})
			}
			for i := range resp.Topics {
				for j := range resp.Topics[i].Partitions {
					if req.Version == 0 && refused {
						resp.Topics[i].Partitions[j].ErrorCode = codeUnsupportedVersion
					}
				}
			}
		})
	}
	return after(key, func(_ *Cluster, req *kmsg.OffsetFetchRequest, resp *kmsg.OffsetFetchResponse) {
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if p := &resp.Topics[i].Partitions[j]; req.Version == 0 {
					p.ErrorCode, p.Offset = codeUnsupportedVersion, -1
				}
			}
		}
	})
}

// topicsAreCheckedByZooKeeper: of several things that are wrong with a new topic, numbers come before the name and configurations.
var topicsAreCheckedByZooKeeper = after(keyCreateTopics, func(c *Cluster, req *kmsg.CreateTopicsRequest, resp *kmsg.CreateTopicsResponse) {
	named := map[string]int{}
	for i := range req.Topics {
		named[req.Topics[i].Topic]++
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		code, text := wrongNumbers(t, len(c.Server().Brokers()))
		for j := range resp.Topics {
			r := &resp.Topics[j]
			other := slices.Contains([]int16{codeInvalidTopic, codeInvalidPartitions, codeInvalidReplicationFactor, codeInvalidAssignment, codeInvalidConfig, codeInvalidRequest}, r.ErrorCode)
			if code != 0 && r.Topic == t.Topic && named[t.Topic] == 1 && other {
				r.ErrorCode, r.ErrorMessage = code, &text
			}
		}
	}
})

// wrongNumbers says what brokers with ZooKeeper found wrong with a topic before they looked at its name; 0 for nothing.
func wrongNumbers(t *kmsg.CreateTopicsRequestTopic, brokers int) (int16, string) {
	for _, c := range t.Configs {
		if c.Value == nil {
			return codeInvalidRequest, "Null value not supported for topic configs : " + c.Name
		}
	}
	partitions, factor := t.NumPartitions, t.ReplicationFactor
	switch {
	case len(t.ReplicaAssignment) > 0 && (partitions != -1 || factor != -1):
		return codeInvalidRequest, "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time."
	case len(t.ReplicaAssignment) > 0:
		return 0, ""
	case partitions < -1 || partitions == 0:
		return codeInvalidPartitions, "Number of partitions must be larger than 0."
	case factor < -1 || factor == 0:
		return codeInvalidReplicationFactor, "Replication factor must be larger than 0."
	case int(factor) > brokers:
		return codeInvalidReplicationFactor, fmt.Sprintf("Replication factor: %d larger than available brokers: %d.", factor, brokers)
	}
	return 0, ""
}
