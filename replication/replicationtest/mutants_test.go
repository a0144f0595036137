//go:build mutants

package replicationtest_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/replication/replicationtest"
)

// mutants are bugs that others have had, or nearly, and that simulated clusters find by themselves: all of package mutant, but for one that breaks
// nothing alone, as is said there.
var mutants = []struct {
	name  string
	on    mutant.Name
	whose string
	only  []string // the faults that it takes, if drawing all would take too long
}{
	{"truncate-to-high-watermark", mutant.TruncateToHighWatermark, "Kafka before KIP-101", nil},
	{"truncate-without-lower-epoch", mutant.TruncateWithoutLowerEpoch, "Kafka before KIP-279", nil},
	{"append-without-divergence", mutant.AppendWithoutDivergence, "the first try of KIP-320", nil},
	{"last-replica-standing", mutant.LastReplicaStanding, "Kafka before KIP-966", nil},
	{"stale-follower-joins", mutant.StaleFollowerJoins, "Kafka before KIP-903", []string{"late-fetch"}},
	{"resume-leadership", mutant.ResumeLeadership, "KAFKA-10527", nil},
	{"ack-before-high-watermark", mutant.AckBeforeHighWatermark, "", nil},
	{"stale-alter-partition", mutant.StaleAlterPartition, "", nil},
	{"stale-leader-alters", mutant.StaleLeaderAlters, "", nil},
	{"raft-entries-not-synced", mutant.RaftEntriesNotSynced, "", nil},
	{"high-watermark-ahead", mutant.HighWatermarkAhead, "", nil},
	{"ignore-proposed-isr", mutant.IgnoreProposedISR, "KIP-497's maximal ISR", nil},
	{"join-below-high-watermark", mutant.JoinBelowHighWatermark, "", nil},
	{"stale-leader-serves", mutant.StaleLeaderServes, "", nil},
	{"unclean-keeps-isr", mutant.UncleanKeepsISR, "KIP-966", []string{"power", "kill-leader"}},
	{"unclean-always", mutant.UncleanAlways, "", nil},
	{"election-same-epoch", mutant.ElectionSameEpoch, "", nil},
	{"removed-too-early", mutant.RemovedTooEarly, "", nil},
	{"serve-above-high-watermark", mutant.ServeAboveHighWatermark, "", nil},
	{"new-leader-forgets-producers", mutant.NewLeaderForgetsProducers, "KAFKA-14034 in effect", nil},
	{"min-isr-not-checked", mutant.MinISRNotChecked, "", nil},
	{"epoch-cache-not-truncated", mutant.EpochCacheNotTruncated, "", nil},
	{"session-forgets-partition", mutant.SessionForgetsPartition, "KIP-227", nil},
	{"snapshot-without-epochs", mutant.SnapshotWithoutEpochs, "", nil},
	{"stale-catalogue", mutant.StaleCatalogue, "", nil},
	{"deleted-replica-stays", mutant.DeletedReplicaStays, "", nil},
	{"feature-without-nodes", mutant.FeatureWithoutNodes, "", nil},
	{"second-process-admitted", mutant.SecondProcessAdmitted, "", nil},
	{"directory-not-compared", mutant.DirectoryNotCompared, "KIP-858", nil},
	{"silent-unclean", mutant.SilentUnclean, "", nil},
	{"offsets-before-commit", mutant.OffsetsBeforeCommit, "", nil},
	{"end-txn-of-next", mutant.EndTxnOfNext, "KAFKA-17754", []string{"late-end"}},
	{"vote-not-persisted", mutant.VoteNotPersisted, "", []string{"double-vote"}},
	{"fenced-joins-isr", mutant.FencedJoinsISR, "", []string{"fenced-join"}},
	{"join-below-epoch-start", mutant.JoinBelowEpochStart, "", []string{"stale-join"}},
	{"log-start-forgotten", mutant.LogStartForgotten, "", []string{"delete-records", "kill"}},
	{"deleted-by-leader-only", mutant.DeletedByLeaderOnly, "", []string{"delete-records", "cut-leader", "kill-leader"}},
	{"clean-uncommitted", mutant.CleanUncommitted, "", []string{"cut-leader", "isolate", "kill-leader"}},
	{"near-read-above-high-watermark", mutant.NearReadAboveHighWatermark, "", []string{"cut-leader", "isolate", "kill-leader", "cut-pair"}},
	{"generation-forgotten", mutant.GenerationForgotten, "", nil},
	{"given-before-revoked", mutant.GivenBeforeRevoked, "", nil},
	{"stale-member-commits", mutant.StaleMemberCommits, "", []string{"late-commit", "member-leaves"}},
	{"stale-epoch-fetch", mutant.StaleEpochFetch, "", []string{"stale-fetch"}},
}

// TestMutants puts each bug back and counts the seeds until a checker has found it: the median of several rows of seeds. PARTLOG_ROWS is how many rows,
// PARTLOG_MOST the seeds of one row after which it is given up. A bug that fewer than three rows have not found gets three.
func TestMutants(t *testing.T) {
	rows, most := number("PARTLOG_ROWS", 3), number("PARTLOG_MOST", 300)
	caught := 0
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			mutant.Set(m.on)
			defer mutant.Set(mutant.None)
			var took []int
			median := most + 1
			by := map[string]int{}
			for row := 0; row < rows || row < 3 && median > most; row++ {
				n, checker := 0, ""
				for n < most && checker == "" {
					n++
					r := replicationtest.Run(replicationtest.Options{Seed: uint64(row+1)*1_000_000 + uint64(n), Reseed: reseed(t), Only: m.only})
					if r.Violation != nil {
						checker = r.Violation.Checker
					}
				}
				if checker == "" {
					n = most + 1
				} else {
					by[checker]++
				}
				took = append(took, n)
				slices.Sort(took)
				median = took[len(took)/2]
			}
			t.Logf("%-30s median %3d seeds, by %v", m.name, median, fmt.Sprint(by))
			require.LessOrEqual(t, median, most, "not found")
			caught++
		})
	}
	require.GreaterOrEqual(t, caught, 20)
}

// A failing run is shrunk to a small part of its schedule, which fails in the same way each time.
func TestFailingSeedIsShrunkAndReplayed(t *testing.T) {
	mutant.Set(mutant.IgnoreProposedISR)
	defer mutant.Set(mutant.None)
	for seed := uint64(1); ; seed++ {
		require.Less(t, seed, uint64(300), "not found")
		o := replicationtest.Options{Seed: seed, Reseed: reseed(t), Keep: 100}
		r := replicationtest.Run(o)
		if r.Violation == nil {
			continue
		}
		least, again := replicationtest.Shrink(o, r, 80)
		require.NotNil(t, again.Violation)
		require.Equal(t, r.Violation.Checker, again.Violation.Checker)
		require.Less(t, len(least), len(r.Schedule)/2)
		o.Schedule, o.Replay = least, true
		require.Equal(t, again.Hash, replicationtest.Run(o).Hash)
		require.NotEmpty(t, again.Trace)
		t.Logf("seed %d: %d actions of %d: %v", seed, len(least), len(r.Schedule), again.Violation)
		return
	}
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}
