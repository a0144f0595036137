package control

import (
	"fmt"
	"strings"
)

// String describes a node for people.
func (n Node) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %d epoch %d", n.ID, n.Epoch)
	if n.Rack != "" {
		fmt.Fprintf(&b, " rack %s", n.Rack)
	}
	if n.ControllerOnly {
		b.WriteString(", controller only")
	}
	if n.Fenced {
		b.WriteString(", fenced")
	}
	if n.ShuttingDown {
		fmt.Fprintf(&b, ", shutting down since %d", n.ShutdownIndex)
	}
	return b.String()
}

// String describes a partition for people: replicas, in-sync replicas, leader/leader epoch/partition epoch, and what else there is.
func (p PartitionState) String() string {
	if !p.Exists() {
		return "none"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v isr %v leader %d epoch %d/%d", p.Replicas, p.ISR, p.Leader, p.LeaderEpoch, p.PartitionEpoch)
	for _, list := range []struct {
		name string
		ids  []NodeID
	}{{"elr", p.ELR}, {"last", p.LastKnownELR}, {"adding", p.Adding}, {"removing", p.Removing}, {"offline", p.Offline}} {
		if len(list.ids) > 0 {
			fmt.Fprintf(&b, " %s %v", list.name, list.ids)
		}
	}
	if p.Recovering {
		b.WriteString(" recovering")
	}
	return b.String()
}
