// Package world describes a world: a site, the routers around it, and the hosts behind them. Descriptions are values;
// they are raised elsewhere.
package world
