"""A review: what a person accepts, rejects and corrects; every act is journalled."""
