// Package replicationtest runs whole clusters in one goroutine, from a seed: the machines that replication.Node runs too (the quorum, the
// controller, leaders, followers and their fetch sessions) over the log itself on a file system in memory, with clients that write,
// read and commit offsets, operators who reassign and restart, and everything going wrong that can: see Menu for what.
//
//	report := replicationtest.Run(replicationtest.Options{Seed: 42})
//	if report.Violation != nil {
//		least, again := replicationtest.Shrink(options, report) // and the story of it: again.Trace
//	}
//
// Operators create, grow, alter and delete topics while clients write to them, drain and remove nodes, upgrade them one at a time to a later feature level,
// and change settings. Where a topic allows unclean elections, and only there, records may be lost: that is told, counted, and leaves equal replicas.
// Second processes of a node and copies of its directory register. What clients hear of topics has to be linearizable (commands).
//
// Members of groups join, die, leave and are paused, on the machine of package group; logs are kept by size and age, deleted from and compacted; consumers
// read from near followers. Plots are faults of several scenes, for what chance brings together too seldom.
//
// A run has two phases. In the first there is trouble; whatever happens, nothing that was promised may break. Then all is mended, and
// within a bound everything has to work again: leaders elected, ISRs whole, every record acknowledged and read. What is checked, and by
// whom, says package simulate.
//
// Two runs of one seed are equal, event by event (Report.Hash), provided that crypto/rand is seeded too, from which raft draws: tests call
// testing/cryptotest.SetGlobalRandom and give it as Options.Reseed.
package replicationtest
