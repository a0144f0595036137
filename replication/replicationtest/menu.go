package replicationtest

import (
	"time"

	"github.com/partlog/partlog/internal/simulate"
)

// Menu returns what a swarm draws from, for a cluster of so many nodes: kinds of faults, of operators' commands and of clients' requests.
// Every seed has the clients, and of the others some.
func Menu(nodes, partitions, producers, consumers, transactors, members int) []simulate.Menu {
	fault := func(kind string, every time.Duration, most time.Duration) simulate.Menu {
		return simulate.Menu{Kind: kind, Every: every, Chance: 0.35, A: nodes, B: nodes, Least: 50 * time.Millisecond, Most: most}
	}
	command := func(kind string, every time.Duration, chance float64) simulate.Menu {
		return simulate.Menu{Kind: kind, Every: every, Chance: chance, A: topicNames}
	}
	menu := []simulate.Menu{
		// Clients.
		{Kind: "produce", Every: 250 * time.Millisecond, Chance: 1, A: producers, B: partitions},
		{Kind: "write-topic", Every: 500 * time.Millisecond, Chance: 1},
		{Kind: "restart-consumer", Every: 30 * time.Second, Chance: 0.5, A: consumers},
		// Processes.
		fault("kill", 25*time.Second, 40*time.Second),
		fault("power", 30*time.Second, 40*time.Second),
		fault("power-all", 60*time.Second, 20*time.Second),
		fault("kill-all", 60*time.Second, 20*time.Second),
		fault("pause", 15*time.Second, 40*time.Second),
		fault("restart", 30*time.Second, 10*time.Second),
		fault("replace", 50*time.Second, 20*time.Second),
		fault("kill-leader", 20*time.Second, 30*time.Second),
		fault("pause-leader", 20*time.Second, 30*time.Second),
		fault("cut-leader", 20*time.Second, 30*time.Second),
		// Network.
		fault("isolate", 15*time.Second, 40*time.Second),
		fault("cut-out", 15*time.Second, 40*time.Second),
		fault("cut-in", 15*time.Second, 40*time.Second),
		fault("cut-pair", 10*time.Second, 40*time.Second),
		fault("cut-one-way", 10*time.Second, 40*time.Second),
		fault("split", 25*time.Second, 40*time.Second),
		fault("clog", 8*time.Second, 15*time.Second),
		fault("clog-clients", 10*time.Second, 12*time.Second),
		fault("swizzle", 25*time.Second, 20*time.Second),
		fault("weather", 12*time.Second, 60*time.Second),
		fault("late-fetch", 20*time.Second, 15*time.Second),
		fault("late-change", 20*time.Second, 20*time.Second),
		{Kind: "storm", Every: 60 * time.Second, Chance: 0.15, Least: time.Second, Most: 4 * time.Second},
		// Disks.
		fault("fail-sync", 20*time.Second, 0),
		fault("fail-write", 20*time.Second, 0),
		fault("full-disk", 30*time.Second, 20*time.Second),
		fault("slow-disk", 15*time.Second, 30*time.Second),
		fault("corrupt", 40*time.Second, 10*time.Second),
		// Clocks.
		fault("jump", 15*time.Second, 0),
		fault("drift", 30*time.Second, 60*time.Second),
		// Operators.
		fault("reassign", 20*time.Second, 0),
		fault("elect", 20*time.Second, 0),
		fault("min-isr", 30*time.Second, 0),
		fault("add-node", 40*time.Second, 0),
		fault("roll", 60*time.Second, 3*time.Second),
		fault("transfer", 30*time.Second, 0),
		fault("remove-node", 30*time.Second, 30*time.Second),
		fault("second-process", 10*time.Second, 0),
		fault("copied-directory", 20*time.Second, 0),
		fault("throttle", 20*time.Second, 60*time.Second),
		fault("upgrade", 15*time.Second, 3*time.Second),
		fault("downgrade", 60*time.Second, 5*time.Second),
		fault("feature", 15*time.Second, 0),
		fault("elect-uncleanly", 30*time.Second, 0),
		command("create-topic", 6*time.Second, 0.6),
		command("grow-topic", 20*time.Second, 0.7),
		command("alter-topic", 20*time.Second, 0.7),
		command("delete-topic", 12*time.Second, 0.8),
		command("describe-topic", 5*time.Second, 0.9),
	}
	if transactors > 0 {
		menu = append(menu, simulate.Menu{Kind: "transact", Every: 1500 * time.Millisecond, Chance: 1, A: transactors})
	}
	menu = append(menu, simulate.Menu{Kind: "delete-records", Every: 8 * time.Second, Chance: 0.3, B: partitions})
	return append(menu, membersMenu(members)...)
}
