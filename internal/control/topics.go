package control

import "slices"

// expected checks that the catalogue is as the proposer knew it.
func (a *application) expected(e Event) bool {
	if e.Kind != 0 && e.Expect < a.m.catalogue {
		a.refuse(Conflict, "the catalogue changed at %d, after %d", a.m.catalogue, e.Expect)
		return false
	}
	return true
}

// tell gives the event to the store.
func (a *application) tell(e Event) {
	if e.Kind != 0 {
		a.m.catalogue = a.r.Index
		a.r.Catalogue = &CatalogueChange{Index: a.r.Index, Kind: e.Kind, Payload: e.Payload}
	}
}

func (a *application) event(e Event) {
	if a.expected(e) {
		a.tell(e)
	}
}

func (a *application) createTopic(c CreateTopic) {
	m := a.m
	i, taken := m.findTopic(c.ID)
	switch {
	case !a.expected(c.Event):
		return
	case m.names[c.Name] != nil:
		a.refuse(TopicAlreadyExists, "%q", c.Name)
		return
	case taken:
		a.refuse(InconsistentTopicID, "topic %q has this id", m.topics[i].Name)
		return
	case len(c.Assignment) == 0:
		a.refuse(InvalidPartitions, "topic %q without partitions", c.Name)
		return
	case c.Config.MinISR < 0:
		a.refuse(InvalidConfig, "min.insync.replicas %d", c.Config.MinISR)
		return
	case !a.assignable(c.Assignment, len(c.Assignment[0])):
		return
	}
	t := &Topic{ID: c.ID, Name: c.Name, Config: c.Config}
	m.topics = slices.Insert(m.topics, i, t)
	m.names[t.Name] = t
	a.grow(t, c.Assignment)
	a.tell(c.Event)
}

// assignable checks the replicas of new partitions.
func (a *application) assignable(assignment [][]NodeID, factor int) bool {
	for _, replicas := range assignment {
		if !a.validReplicas(replicas) {
			a.refuse(InvalidReplicaAssignment, "replicas %v", replicas)
			return false
		}
		if len(replicas) != factor {
			a.refuse(InvalidReplicaAssignment, "replicas %v, others have %d", replicas, factor)
			return false
		}
		if !slices.ContainsFunc(replicas, a.m.Active) {
			a.refuse(InvalidReplicaAssignment, "replicas %v, all fenced or shutting down", replicas)
			return false
		}
	}
	return true
}

// validReplicas reports whether replicas are registered brokers, each of them once.
func (a *application) validReplicas(replicas []NodeID) bool {
	for i, id := range replicas {
		if at, ok := a.m.findNode(id); !ok || a.m.nodes[at].ControllerOnly || slices.Contains(replicas[:i], id) {
			return false
		}
	}
	return len(replicas) > 0
}

// grow adds partitions: active replicas are in sync, the first of them leads.
func (a *application) grow(t *Topic, assignment [][]NodeID) {
	a.r.Changed = slices.Grow(a.r.Changed, len(assignment))
	for _, replicas := range assignment {
		p := PartitionState{Replicas: replicas}
		for _, id := range replicas {
			if a.m.Active(id) {
				p.ISR = append(p.ISR, id)
			}
		}
		p.Leader = p.ISR[0]
		t.partitions = append(t.partitions, PartitionState{})
		a.put(t, int32(len(t.partitions)-1), p, false)
	}
}

func (a *application) growTopic(c GrowTopic) {
	t := a.m.topic(c.ID)
	switch {
	case !a.expected(c.Event):
		return
	case t == nil:
		a.refuse(UnknownTopicID, "%x", c.ID)
		return
	case int(c.From) != len(t.partitions) || len(c.Assignment) == 0:
		a.refuse(InvalidPartitions, "%d more from %d on, of topic %q with %d", len(c.Assignment), c.From, t.Name, len(t.partitions))
		return
	case slices.ContainsFunc(t.partitions, PartitionState.Reassigning):
		a.refuse(ReassignmentInProgress, "topic %q", t.Name)
		return
	case !a.assignable(c.Assignment, len(t.partitions[0].Replicas)):
		return
	}
	a.grow(t, c.Assignment)
	a.tell(c.Event)
}

func (a *application) deleteTopic(c DeleteTopic) {
	i, ok := a.m.findTopic(c.ID)
	switch {
	case !a.expected(c.Event):
		return
	case !ok:
		a.refuse(UnknownTopicID, "%x", c.ID)
		return
	}
	t := a.m.topics[i]
	a.r.Changed = slices.Grow(a.r.Changed, len(t.partitions))
	for index := range t.partitions {
		a.put(t, int32(index), PartitionState{}, false)
	}
	a.m.topics = slices.Delete(a.m.topics, i, i+1)
	delete(a.m.names, t.Name)
	a.tell(c.Event)
}

func (a *application) configureTopic(c ConfigureTopic) {
	t := a.m.topic(c.ID)
	switch {
	case !a.expected(c.Event):
		return
	case t == nil:
		a.refuse(UnknownTopicID, "%x", c.ID)
		return
	case c.Config.MinISR < 0:
		a.refuse(InvalidConfig, "min.insync.replicas %d", c.Config.MinISR)
		return
	}
	before := a.minISRs(t)
	t.Config = c.Config
	a.reconfigured(t, before)
	a.tell(c.Event)
}

func (a *application) configureCluster(c ConfigureCluster) {
	if !a.expected(c.Event) {
		return
	}
	if c.Config.MinISR < 1 {
		a.refuse(InvalidConfig, "min.insync.replicas %d", c.Config.MinISR)
		return
	}
	before := make([][]int32, len(a.m.topics))
	for i, t := range a.m.topics {
		before[i] = a.minISRs(t)
	}
	a.m.config = c.Config
	for i, t := range a.m.topics {
		a.reconfigured(t, before[i])
	}
	a.tell(c.Event)
}

func (a *application) minISRs(t *Topic) []int32 {
	mins := make([]int32, len(t.partitions))
	for i, p := range t.partitions {
		mins[i] = a.m.minISR(t, p)
	}
	return mins
}

// reconfigured brings a topic's configuration into force: an ELR goes where the ISR is large enough now, unclean elections are held if they are
// allowed now, and whoever has to know of another minimum is told.
//
// Kafka drops the ELR with every change of min.insync.replicas; here it stays while the ISR is smaller than the new minimum, as its members still
// have all that is committed, and may be the only ones.
func (a *application) reconfigured(t *Topic, before []int32) {
	for i, p := range t.partitions {
		if !a.finish(a.begin(t, int32(i))) {
			if now := a.m.minISR(t, p); now != before[i] {
				a.r.Changed = append(a.r.Changed, PartitionChange{Partition: PartitionID{t.ID, int32(i)}, Name: t.Name, Before: p, After: p, MinISR: now})
			}
		}
	}
}
