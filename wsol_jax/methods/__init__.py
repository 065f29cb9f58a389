"""The methods: what is learned and what is predicted, one file each."""
