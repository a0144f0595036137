package kafka

import (
	"os"
	"strings"
	"testing"
)

// onNodes reports whether a test runs on a cluster of three nodes: with PARTLOG_TEST_NODES=3 all do, else those below TestOnThreeNodes.
func onNodes(t testing.TB) bool {
	return os.Getenv("PARTLOG_TEST_NODES") == "3" || strings.HasPrefix(t.Name(), "TestOnThreeNodes/")
}

// onOneStore skips a test that means nothing on a cluster, and says why.
func onOneStore(t testing.TB, why string) {
	t.Helper()
	if onNodes(t) {
		t.Skip("on one store only: " + why)
	}
}

// TestOnThreeNodes runs tests of the listener on three nodes, one or two of each kind. PARTLOG_TEST_NODES=3 go test ./kafka runs all.
func TestOnThreeNodes(t *testing.T) {
	if os.Getenv("PARTLOG_TEST_NODES") == "3" {
		t.Skip("all tests are on three nodes")
	}
	if testing.Short() {
		t.Skip("clusters take time")
	}
	for name, f := range map[string]func(*testing.T){
		"ProduceErrorsInTheirOrder":                TestProduceErrorsInTheirOrder,
		"FetchErrorsOfPartitions":                  TestFetchErrorsOfPartitions,
		"FetchReadCommitted":                       TestFetchReadCommitted,
		"ListOffsets":                              TestListOffsets,
		"OffsetForLeaderEpoch":                     TestOffsetForLeaderEpoch,
		"DeleteRecords":                            TestDeleteRecords,
		"MetadataOfPartitionsWithoutLeader":        TestMetadataOfPartitionsWithoutLeader,
		"FetchNamesANearerReplica":                 TestFetchNamesANearerReplica,
		"MetadataIsOfTheListenerAsked":             TestMetadataIsOfTheListenerAsked,
		"ReplicasByHandAreKept":                    TestReplicasByHandAreKept,
		"AReassignmentEndsWithTheReplicasAsked":    TestAReassignmentEndsWithExactlyTheReplicasAskedFor,
		"ABrokerThatIsNotTheCoordinatorSaysSo":     TestABrokerThatIsNotTheCoordinatorSaysSoInEveryApi,
		"OffsetsOfATransactionAreUnstable":         TestOffsetsOfATransactionAreUnstableUntilItEnds,
		"AnOldClientsTransaction":                  TestAnOldClientsTransaction,
		"ScriptsToThreeBrokers":                    TestScriptsOfAdminRequestsToThreeBrokersAreAnsweredAsByApacheKafka,
		"RulesAreCreatedDescribedActAndAreDeleted": TestRulesAreCreatedDescribedActAndAreDeleted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a cluster that starts waits most of the time
			f(t)
		})
	}
}
