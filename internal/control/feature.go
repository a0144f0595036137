package control

import "github.com/partlog/partlog/internal/mutant"

func (a *application) setFeature(c SetFeature) {
	m := a.m
	switch {
	case c.Level == m.feature:
		return
	case c.Level < m.feature:
		a.refuse(InvalidUpdateVersion, "from feature level %d there is no way back to %d", m.feature, c.Level)
		return
	}
	for _, n := range m.nodes {
		if mutant.On(mutant.FeatureWithoutNodes) {
			break
		}
		if c.Level > n.MaxFeature || c.Level < n.MinFeature {
			a.refuse(InvalidUpdateVersion, "node %d can live with feature levels %d to %d", n.ID, n.MinFeature, n.MaxFeature)
			return
		}
	}
	if c.Level > MaxLevel {
		a.refuse(UnsupportedVersion, "the cluster is at feature level %d now, this node knows %d", c.Level, MaxLevel)
		a.r.Halt = true
		return
	}
	m.feature, a.r.Feature = c.Level, c.Level
	// Without ELR the last member of an ISR stayed in it though it was not active, and nobody led.
	m.each(func(t *Topic, index int32) {
		if t.partitions[index].Leader == NoNode {
			ch := a.begin(t, index)
			ch.isr, ch.gone = nil, ch.offline
			a.finish(ch)
		}
	})
}

func (a *application) unknown(c Unknown) {
	a.refuse(UnsupportedVersion, "command %d needs feature level %d, the cluster is at %d", c.Kind, c.Level, a.m.feature)
	a.r.Halt = c.Level <= a.m.feature
}
