package control

func (a *application) unknown(c Unknown)                   {}
func (a *application) register(c Register)                 {}
func (a *application) unregister(c Unregister)             {}
func (a *application) fence(c Fence)                       {}
func (a *application) unfence(c Unfence)                   {}
func (a *application) beginShutdown(c BeginShutdown)       {}
func (a *application) alterPartitions(c AlterPartitions)   {}
func (a *application) offline(c OfflineReplicas)           {}
func (a *application) online(c OnlineReplicas)             {}
func (a *application) createTopic(c CreateTopic)           {}
func (a *application) deleteTopic(c DeleteTopic)           {}
func (a *application) growTopic(c GrowTopic)               {}
func (a *application) configureTopic(c ConfigureTopic)     {}
func (a *application) configureCluster(c ConfigureCluster) {}
func (a *application) event(e Event)                       {}
func (a *application) reassign(c Reassign)                 {}
func (a *application) elect(c Elect)                       {}
func (a *application) setFeature(c SetFeature)             {}
func (m *Machine) imbalanced(most int) []PartitionID       { return nil }
func (m *Machine) uncleanly(most int) []PartitionID        { return nil }
func (n Node) String() string                              { return "" }
func (p PartitionState) String() string                    { return "" }
